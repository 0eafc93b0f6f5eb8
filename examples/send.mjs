// Sends records, one JSON object per line, with fetch (Node 18 or later):
//   node examples/send.mjs URL DATASET < records.ndjson
// If the pipeline has API keys, set PINLAKE_API_KEY=plk_...
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

const MAX_ATTEMPTS = 5;

const [url, dataset] = process.argv.slice(2);
const records = readFileSync(0);
const headers = {
  "Content-Type": "application/x-ndjson",
  "Content-Encoding": "gzip",
  // A hash of the records, so that sending them again adds no records.
  "Idempotency-Key": createHash("sha256").update(records).digest("hex"),
};
if (process.env.PINLAKE_API_KEY) headers["x-api-key"] = process.env.PINLAKE_API_KEY;

const body = gzipSync(records);
let response;
for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
  response = await fetch(`${url.replace(/\/$/, "")}/v1/${dataset}`, { method: "POST", headers, body });
  const isRetryable = response.status === 429 || response.status === 503;
  if (!isRetryable || attempt === MAX_ATTEMPTS) break;
  await sleep(1000 * Number(response.headers.get("Retry-After") ?? attempt));
}
console.log(await response.text());
process.exitCode = response.ok ? 0 : 1;
