"""Delivers Kinesis records to the cleaner, as the AWS Lambda Developer Guide documents it ("Process Kinesis Data
Streams records").

The stand-in's own event source mapping is disabled: it retries after a crash, but ignores ReportBatchItemFailures and
would lose the batch. This one continues at the first reported record, halves a batch that failed as a whole, sometimes
delivers a batch twice, and discards nothing.
"""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import stack
from local.chaos.faults import Faults
from local.places import REGION

_PAUSE = 0.2
# Slightly more than the time limit of the cleaner.
_READ_TIMEOUT = 130


class EventSource:
    """A thread that reads all shards in turn and delivers one batch of a shard at a time."""

    def __init__(self, described: dict[str, Any], faults: Faults) -> None:
        self._described = described
        self._faults = faults
        self._chance = faults.chance("event source")
        self._kinesis = stack.client("kinesis", described["endpoint"])
        self._lambda = stack.client("lambda", described["endpoint"], read_timeout=_READ_TIMEOUT)
        self._function = described["functions"]["cleaner"]
        self._passed: dict[str, str] = {}
        self._size: dict[str, int] = {}
        self._stop = threading.Event()
        self._idle = threading.Event()
        self._twin = ThreadPoolExecutor(1, "chaos-twin")
        self._thread = threading.Thread(target=self._run, daemon=True, name="chaos-event-source")
        self.batches = 0
        self.failed = 0

    def start(self) -> None:
        """Disables the stand-in's event source mapping and starts the thread."""
        mappings = self._lambda.list_event_source_mappings(FunctionName=self._function)["EventSourceMappings"]
        self._most = mappings[0]["BatchSize"]
        self._arn = mappings[0]["EventSourceArn"]
        for mapping in mappings:
            self._lambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        self._thread.start()

    def stop(self) -> None:
        """Stops after the current batch."""
        self._stop.set()
        self._thread.join(_READ_TIMEOUT)

    def has_read_all(self, seconds: float) -> bool:
        """Waits at most ``seconds`` until all records have been read. Returns whether they have."""
        self._idle.clear()
        return self._idle.wait(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = [self._deliver_next(shard["ShardId"]) for shard in self._shards()]
            except (BotoCoreError, ClientError):
                # The stand-in is being restarted.
                busy = [True]
                time.sleep(_PAUSE)
            if not any(busy):
                self._idle.set()
                time.sleep(_PAUSE)

    def _shards(self) -> list[dict[str, Any]]:
        return self._kinesis.list_shards(StreamName=self._described["stream"])["Shards"]

    def _deliver_next(self, shard: str) -> bool:
        """Delivers one batch of a shard. Returns False if there are no records."""
        passed = self._passed.get(shard)
        where = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": passed}
            if passed
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )
        name = self._described["stream"]
        iterator = self._kinesis.get_shard_iterator(StreamName=name, ShardId=shard, **where)["ShardIterator"]
        size = self._size.get(shard, self._most)
        records = self._kinesis.get_records(ShardIterator=iterator, Limit=size)["Records"]
        if not records:
            return False
        event = json.dumps({"Records": [self._record(shard, record) for record in records]}).encode()
        fault = self._faults.draw(self._chance, ["batch twice at once", "function's answer lost"])
        twin = None
        if fault == "batch twice at once":
            twin = self._twin.submit(self._invoke, event)
        answer = self._invoke(event)
        if twin is not None:
            twin.result()
        if fault is not None:
            self._faults.strike("event source", fault, "cleaner", f"{len(records)} records from {shard}")
        if fault == "function's answer lost":
            answer = None
        if answer is None:
            self.failed += 1
            self._size[shard] = max(1, len(records) // 2)
            time.sleep(_PAUSE)
            return True
        reported = [failure["itemIdentifier"] for failure in answer.get("batchItemFailures", [])]
        done = [record for record in records if not reported or int(record["SequenceNumber"]) < min(map(int, reported))]
        if reported:
            self.failed += 1
            time.sleep(_PAUSE)
        else:
            self.batches += 1
            self._size[shard] = self._most
        if done:
            self._passed[shard] = done[-1]["SequenceNumber"]
        return True

    def _record(self, shard: str, record: dict[str, Any]) -> dict[str, Any]:
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/event-source",
            "awsRegion": REGION,
            "eventSourceARN": self._arn,
        }

    def _invoke(self, event: bytes) -> dict[str, Any] | None:
        """The cleaner's response; None if it failed or did not respond."""
        try:
            answer = self._lambda.invoke(FunctionName=self._function, Payload=event)
            said = answer["Payload"].read()
        except (BotoCoreError, ClientError):
            return None
        return None if answer.get("FunctionError") else json.loads(said)
