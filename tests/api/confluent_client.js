// Runs Confluent's Node client of its REST proxy against ingest: node confluent_client.js URL FIRST, in a folder where npm
// has installed package.json. Lists topics and sends three users, numbered from FIRST, in base64 as this client does.
"use strict";
const assert = require("node:assert");
const { promisify } = require("node:util");
const KafkaRest = require(require.resolve("kafka-rest", { paths: [process.cwd()] }));

const [url, first] = process.argv.slice(2);
const kafka = new KafkaRest({ url });
const user = (ind) =>
  JSON.stringify({ ind, first_name: "Noor", last_name: "Okafor", age: 34, date_joined: "2016-08-09 10:11:12" });

async function main() {
  const topics = await promisify(kafka.topics.list.bind(kafka.topics))();
  assert.deepStrictEqual(topics.map((topic) => topic.name), ["geo", "pin", "user"]);
  const topic = kafka.topic("client.user");
  const metadata = await promisify(topic.get.bind(topic))();
  assert.strictEqual(metadata.name, "client.user");
  const partitions = await promisify(topic.partitions.list.bind(topic.partitions))();
  assert.deepStrictEqual(partitions.map((partition) => partition.id), [0]);

  const sent = await promisify(topic.produce.bind(topic))(
    { key: "key", value: user(Number(first)) },
    { value: user(Number(first) + 1), partition: 0 },
  );
  const partition = topic.partition(0);
  const after = await promisify(partition.produce.bind(partition))({ value: user(Number(first) + 2) });
  const offsets = [...sent.offsets, ...after.offsets].map((entry) => entry.offset);
  assert.strictEqual(offsets.length, 3);
  assert.ok(offsets[0] < offsets[1] && offsets[1] < offsets[2], offsets);
  await assert.rejects(promisify(kafka.topics.get.bind(kafka.topics))("unheard.of"), { status: 404 });
}
main();
