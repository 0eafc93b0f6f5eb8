"""Sends requests to the HTTP API of a stack with other clients, and checks their rows in the tables."""

import base64
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import requests
from deployed import PATIENCE, ROOM, Users
from opentelemetry._logs import LogRecord
from opentelemetry.exporter.otlp.common.http import Compression
from opentelemetry.exporter.otlp.json.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExportResult
from opentelemetry.sdk.resources import Resource

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
#: Headers that the scripts of the replaced pipelines send.
KAFKA = {"Content-Type": "application/vnd.kafka.json.v2+json"}
BINARY = {"Content-Type": "application/vnd.kafka.binary.v2+json"}
JSON = {"Content-Type": "application/json"}


def user(ind: int) -> dict[str, Any]:
    """A row as in the database of the replaced pipelines."""
    return {"ind": ind, "first_name": "Noé", "last_name": "Okafor", "age": 34, "date_joined": "2016-08-09 10:11:12"}


class Api(Users):
    """The function URL of the stack, and its table `user`."""

    @property
    def url(self) -> str:
        """The function URL."""
        return self.described["ingest_url"]

    def call(self, method: str, path: str, expected: int = 200, **how: Any) -> Any:
        """Sends a request with ``requests``, as the scripts do. Returns the JSON of the response, which must have this
        status."""
        answer = requests.request(method, f"{self.url}{path}", timeout=30, **how)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


def say(text: str) -> None:
    """Prints a message to stderr."""
    print(f"api: {text}", file=sys.stderr)


def batch_script(api: Api, first: int) -> int:
    """Sends requests to the Kafka REST proxy in every variant of the replaced pipelines' scripts."""
    topic, rows = "/test/topics/0a1b2c3d4e5f.user", [user(first + at) for at in range(12)]
    renamed = {"index": rows[5]["ind"], **{name: rows[5][name] for name in rows[5] if name != "ind"}}

    def encoded(row: dict[str, Any]) -> str:
        return base64.b64encode(json.dumps(row).encode()).decode()

    offsets = []
    for path, headers, body in (
        (topic, KAFKA, json.dumps({"records": [{"value": rows[0]}]})),
        (topic, KAFKA, json.dumps({"records": [{"value": rows[1]}, {"value": rows[2]}]})),
        (topic, KAFKA, json.dumps({"records": [{"key": "k", "partition": 0, "value": rows[3]}]}, indent=2)),
        (topic, KAFKA, json.dumps({"records": {"value": rows[4]}})),
        ("/topics/0a1b2c3d4e5f.user", KAFKA, json.dumps({"records": [{"value": renamed}]})),
        (topic, KAFKA, json.dumps({"records": [{"Data": rows[6], "PartitionKey": "1"}]})),
        (topic, {}, json.dumps({"records": [{"value": rows[7]}]})),
        (f"{topic}/partitions/0", KAFKA, json.dumps({"records": [{"value": rows[8]}]})),
        (topic, BINARY, json.dumps({"records": [{"key": encoded(rows[9]), "value": encoded(rows[9])}]})),
        (f"{topic}/partitions/0", BINARY, json.dumps({"records": [{"value": encoded(row)} for row in rows[10:]]})),
        # A restarted stock client sends its first rows again.
        (topic, KAFKA, json.dumps({"records": [{"value": rows[0]}]})),
    ):
        answer = api.call("POST", path, headers=headers, data=body)
        assert answer["key_schema_id"] is None and answer["value_schema_id"] is None, answer
        for entry in answer["offsets"]:
            assert entry["partition"] == 0 and entry["error_code"] is None and entry["error"] is None, entry
            offsets.append(entry["offset"])
    assert all(a < b for a, b in pairwise(offsets)), offsets
    return len(rows)


def proxy_metadata(api: Api) -> None:
    """Checks the responses about topics and partitions, and the errors."""
    assert api.call("GET", "/topics") == ["geo", "pin", "user"]
    replica = {"broker": 1, "leader": True, "in_sync": True}
    partition = {"partition": 0, "leader": 1, "replicas": [replica]}
    metadata = api.call("GET", "/test/topics/0a1b.pin")
    assert metadata == {"name": "0a1b.pin", "configs": {}, "partitions": [partition]}, metadata
    assert api.call("GET", "/topics/0a1b.pin/partitions") == [partition]
    assert api.call("GET", "/topics/0a1b.pin/partitions/0") == partition
    record = json.dumps({"records": [{"value": {}}]})
    for method, path, headers, body, status, code in (
        ("GET", "/topics/unheard.of", {}, None, 404, 40401),
        ("POST", "/topics/unheard.of", KAFKA, record, 404, 40401),
        ("GET", "/topics/0a1b.pin/partitions/7", {}, None, 404, 40402),
        ("POST", "/topics/0a1b.pin/partitions/7", KAFKA, record, 404, 40402),
        ("POST", "/topics/0a1b.pin", KAFKA, "{}", 422, 422),
        ("POST", "/topics/0a1b.pin", BINARY, record, 422, 422),
        ("POST", "/topics/0a1b.pin", KAFKA, '{"records": [', 400, 400),
        ("POST", "/topics/0a1b.pin", {"Content-Type": "application/vnd.kafka.avro.v2+json"}, record, 415, 415),
        ("DELETE", "/topics/0a1b.pin", {}, None, 405, 405),
    ):
        error = api.call(method, path, status, headers=headers, data=body)
        assert error["error_code"] == code and error["message"], error
    say("topics and partitions: metadata and errors as from the proxy")


def streaming_script(api: Api, first: int) -> int:
    """Sends requests to API Gateway in front of Kinesis in every variant of the replaced pipelines' scripts."""
    stream, shared = "/test/streams/streaming-0a1b2c3d4e5f-user", "/test/streams/Kinesis-Prod-Stream"
    rows = [user(first + at) for at in range(10)]
    encoded = base64.b64encode(json.dumps(rows[2]).encode()).decode()
    for method, path, body in (
        ("PUT", f"{stream}/record", {"StreamName": "YourStreamName", "Data": rows[0], "PartitionKey": "partition-1"}),
        ("PUT", f"{stream}/record", {"StreamName": ["a"], "Data": json.dumps(rows[1]), "PartitionKey": 7}),
        ("PUT", f"{stream}/record", {"StreamName": "s", "Data": encoded, "PartitionKey": str(uuid.uuid4())}),
        ("POST", f"{stream}/record", {"StreamName": "s", "Data": rows[3], "PartitionKey": "user"}),
        # Quarantine has the empty record once for each dataset; other tests expect it for pin.
        ("PUT", "/streams/streaming-0a1b-pin/record", {"StreamName": "s", "Data": "", "PartitionKey": "partition-1"}),
        ("PUT", f"{shared}/record", {"StreamName": "s", "Data": rows[4], "PartitionKey": "user"}),
        ("PUT", f"{shared}/record", {"StreamName": "s", "Data": rows[5], "PartitionKey": "partition-1"}),
    ):
        answer = api.call(method, path, headers=JSON, data=json.dumps(body))
        assert answer["ShardId"].startswith("shardId-") and answer["SequenceNumber"].isdigit(), answer
    small = [{"data": row, "partition-key": "user"} for row in rows[6:8]]
    large = [{"Data": row, "PartitionKey": "partition-1"} for row in rows[8:]]
    for method, body in (("PUT", {"records": small}), ("POST", {"StreamName": "s", "Records": large})):
        answer = api.call(method, f"{shared}/records", headers=JSON, data=json.dumps(body))
        assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 2, answer
    return len(rows)


def streaming_consumer(api: Api) -> None:
    """Lists and describes streams, sends records, and reads them back from each shard, like a Kinesis consumer."""
    name = f"streaming-{uuid.uuid4().hex}-geo"
    stream = f"/test/streams/{name}"
    names = ["Kinesis-Prod-Stream", "geo", "pin", "user"]
    assert api.call("GET", "/test/streams") == {"HasMoreStreams": False, "StreamNames": names}
    after = {"ExclusiveStartStreamName": "geo", "Limit": 1}
    assert api.call("GET", "/streams", params=after) == {"HasMoreStreams": True, "StreamNames": ["pin"]}
    assert api.call("GET", "/streams", 400, params={"Limit": 0})["__type"] == "InvalidArgumentException"
    described = api.call("GET", stream)["StreamDescription"]
    assert described["StreamName"] == name and described["StreamStatus"] == "ACTIVE", described

    sent = {}
    for number in range(3):
        row, key = {"ind": None, "sent by": f"{name} {number}"}, f"partition-{number}"
        answer = api.call("PUT", f"{stream}/record", json={"StreamName": name, "Data": row, "PartitionKey": key})
        sent[answer["SequenceNumber"]] = (key, row)
    mine = json.dumps({"records": [{"value": {"another": name}}]})
    api.call("POST", "/topics/x.pin", headers=KAFKA, data=mine)

    found, strangers = {}, []
    until = time.monotonic() + PATIENCE
    for shard in described["Shards"]:
        iterators = api.call("GET", f"{stream}/sharditerator", params={"shard-id": shard["ShardId"]})
        iterator = iterators["ShardIterator"]
        while True:
            answer = api.call("GET", f"{stream}/records", headers={"Shard-Iterator": iterator})
            for record in answer["Records"]:
                data = base64.b64decode(record["Data"])
                if name.encode() in data:
                    found[record["SequenceNumber"]] = (record["PartitionKey"], json.loads(data))
                if b"another" in data:
                    strangers.append(data)
            iterator = answer["NextShardIterator"]
            if not iterator or (answer["MillisBehindLatest"] == 0 and not answer["Records"]):
                break
            assert time.monotonic() < until, "the shard has no end"
    assert found == sent, (found, sent)
    assert not strangers, strangers

    other = {"Shard-Iterator": iterator}
    assert (
        api.call("GET", "/streams/streaming-x-pin/records", 400, headers=other)["__type"] == "InvalidArgumentException"
    )
    assert api.call("GET", f"{stream}/records", 400)["__type"] == "InvalidArgumentException"
    nowhere = {"shard-id": "shardId-000000000099"}
    assert api.call("GET", f"{stream}/sharditerator", 404, params=nowhere)["__type"] == "ResourceNotFoundException"
    assert api.call("POST", stream, 400, json={"ShardCount": 5})["__type"] == "ResourceInUseException"
    assert api.call("POST", "/streams/new", 403, json={"ShardCount": 5})["__type"] == "AccessDeniedException"
    assert api.call("DELETE", stream, 403)["__type"] == "AccessDeniedException"
    assert api.call("DELETE", "/streams/new", 404)["__type"] == "ResourceNotFoundException"
    say(f"all actions on streams: {len(sent)} records sent and read back, and none of another dataset")


def examples(api: Api, first: int, program: Path) -> int:
    """Runs the examples of docs/api.md, each twice with the same rows."""
    commands = {
        "curl": ["sh", "examples/send.sh"],
        "Python": [sys.executable, "examples/send.py"],
        "JavaScript": ["node", "examples/send.mjs"],
        "Rust": [str(program)],
    }
    count = 0
    for language, command in commands.items():
        if language == "JavaScript" and not shutil.which("node"):
            say("example in JavaScript: skipped, node is not installed")
            continue
        rows = "".join(json.dumps(user(first + count + at)) + "\n" for at in range(2))
        for _ in range(2):
            done = subprocess.run(
                [*command, api.url, "user"], cwd=ROOT, env=api.environment, input=rows, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            assert json.loads(done.stdout)["accepted"] == 2, done.stdout
        wrong = subprocess.run(
            [*command, api.url, "user"], cwd=ROOT, env=api.environment, input="{\n", capture_output=True, text=True
        )
        # An invalid request is not retried.
        assert wrong.returncode != 0 and wrong.stdout.count('"malformed_json"') == 1, wrong.stdout + wrong.stderr
        count += 2
    return count


def confluent_client(api: Api, first: int, folder: Path) -> int:
    """Runs Confluent's Node client of its REST proxy."""
    if not (folder / "node_modules/kafka-rest").exists():
        say("Confluent's client: skipped, node or npm is not installed")
        return 0
    command = ["node", str(HERE / "confluent_client.js"), api.url, str(first)]
    done = subprocess.run(command, cwd=folder, env=api.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return 3


def otlp_exporter(api: Api) -> None:
    """Sends log records with OpenTelemetry's exporter. They go to quarantine: no built-in dataset is made of logs."""
    # The stand-in reads a compressed body of type application/json as text: docs/stand-in.md.
    exporter = OTLPLogExporter(endpoint=f"{api.url}/v1/logs?dataset=pin", compression=Compression.NONE)
    processor = BatchLogRecordProcessor(exporter)
    provider = LoggerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_log_record_processor(processor)
    exported: list[LogRecordExportResult] = []
    export = exporter.export

    def recorded(batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        exported.append(export(batch))
        return exported[-1]

    exporter.export = recorded  # type: ignore[method-assign]
    logger = provider.get_logger("cart", "1.0")
    for body in ("text", {"a": [1, None]}):
        attributes = {"http.status": 200}
        logger.emit(LogRecord(timestamp=time.time_ns(), severity_text="INFO", body=body, attributes=attributes))
    assert provider.force_flush() and exported == [LogRecordExportResult.SUCCESS], exported
    provider.shutdown()
    say("OpenTelemetry's exporter: log records sent as JSON")


def main() -> int:
    """Runs all checks. All rows are checked at the end, so that the wait for the pipeline happens once."""
    api = Api(Path(sys.argv[1]), Path(sys.argv[2]))
    example, folder = Path(sys.argv[3]), Path(sys.argv[4])
    # Below 2^53, the limit of exact integers in JavaScript.
    first = time.time_ns() // 1_000_000 * 1_000
    sent = {
        "requests, to the Kafka REST proxy": batch_script(api, first),
        "requests, to Kinesis": streaming_script(api, first + ROOM),
        "examples": examples(api, first + 2 * ROOM, example),
        "Confluent's client": confluent_client(api, first + 3 * ROOM, folder),
    }
    proxy_metadata(api)
    streaming_consumer(api)
    otlp_exporter(api)
    for at, (what, count) in enumerate(sent.items()):
        if count:
            api.expect_users(what, first + at * ROOM, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
