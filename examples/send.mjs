// Sends rows, one JSON object a line, with fetch (Node 18 or later):  node examples/send.mjs URL DATASET < rows.ndjson
// Where the pipeline has API keys: PINLAKE_API_KEY=plk_...
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

const [url, dataset] = process.argv.slice(2);
const rows = readFileSync(0);
const headers = {
  "Content-Type": "application/x-ndjson",
  "Content-Encoding": "gzip",
  // The same key and the same rows are the same records, however often they are sent.
  "Idempotency-Key": createHash("sha256").update(rows).digest("hex"),
};
if (process.env.PINLAKE_API_KEY) headers["x-api-key"] = process.env.PINLAKE_API_KEY;

let answer;
for (let attempt = 1; attempt <= 5; attempt++) {
  answer = await fetch(`${url.replace(/\/$/, "")}/v1/${dataset}`, { method: "POST", headers, body: gzipSync(rows) });
  if (answer.status !== 429 && answer.status !== 503) break;
  await sleep(1000 * Number(answer.headers.get("Retry-After") ?? attempt));
}
console.log(await answer.text());
process.exitCode = answer.ok ? 0 : 1;
