"""Event sources with batching windows, as the Lambda Developer Guide documents them ("How Lambda processes records from
stream and queue-based event sources"), in the place of the stand-in's own, which have none.

An invocation begins when the batch is full, when its event has 6 MB, or when the window is over, which began when the
invocation before ended. One shard is read, once a second; one batch of messages is under way at a time.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.deployed import Deployed
from bench.events import kinesis_record, sqs_message

_EVENT_BYTES = 6_000_000
# BatchSize in template.yaml.
_RECORDS, _MESSAGES = 1_000, 100
# Lambda reads a shard once a second; a queue it asks all the time.
_SHARD_PAUSE_S, _QUEUE_PAUSE_S = 1, 0.1
_SHARD = "shardId-000000000000"


@contextmanager
def windows(stack: Deployed, cleaner_s: int, compactor_s: int) -> Iterator[None]:
    """Delivers to both functions so, until the end."""
    stop = threading.Event()
    for function in ("cleaner", "compactor"):
        stack.switch_off(function)
    loops = [
        threading.Thread(target=_deliver, args=(stack, "cleaner", _Shard(stack), cleaner_s, stop), daemon=True),
        threading.Thread(target=_deliver, args=(stack, "compactor", _Queue(stack), compactor_s, stop), daemon=True),
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        stop.set()
        for loop in loops:
            loop.join()


def _deliver(stack: Deployed, function: str, source: "_Shard | _Queue", window_s: int, stop: threading.Event) -> None:
    kept: list[dict[str, Any]] = []
    while not stop.is_set():
        batch, kept = _gather(source, window_s, kept, stop.is_set)
        if batch:
            answer = stack.invoke(function, {"Records": batch})
            assert not answer["batchItemFailures"], answer
            source.done(batch)


def _gather(
    source: "_Shard | _Queue", window_s: int, kept: list[dict[str, Any]], ends: Callable[[], bool]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A batch, and what is left for the next."""
    over = time.monotonic() + window_s
    records, size = list(kept), sum(len(json.dumps(record)) for record in kept)
    while time.monotonic() < over and len(records) < source.most and size < _EVENT_BYTES and not ends():
        time.sleep(source.pause_s)
        more = source.read()
        records += more
        size += sum(len(json.dumps(record)) for record in more)
    end, size = 0, 0
    while end < min(len(records), source.most) and size < _EVENT_BYTES:
        size += len(json.dumps(records[end])) + 2
        # The first goes along however large it is.
        end += 1 if size < _EVENT_BYTES or end == 0 else 0
    return records[:end], records[end:]


class _Shard:
    """The one shard of the stream."""

    most, pause_s = _RECORDS, _SHARD_PAUSE_S

    def __init__(self, stack: Deployed) -> None:
        self._stack = stack
        asked = {"StreamName": stack.described["stream"], "ShardId": _SHARD, "ShardIteratorType": "TRIM_HORIZON"}
        self._iterator = stack.call("kinesis", "GetShardIterator", asked)["ShardIterator"]

    def read(self) -> list[dict[str, Any]]:
        answer = self._stack.call("kinesis", "GetRecords", {"ShardIterator": self._iterator})
        self._iterator = answer["NextShardIterator"]
        return [self._record(record) for record in answer["Records"]]

    def done(self, batch: list[dict[str, Any]]) -> None:
        pass

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        return kinesis_record(
            _SHARD,
            record["SequenceNumber"],
            record["PartitionKey"],
            record["Data"],
            record["ApproximateArrivalTimestamp"],
            region=self._stack.described["region"],
            stream=self._stack.described["stream"],
        )


class _Queue:
    """The queue of wake-ups."""

    most, pause_s = _MESSAGES, _QUEUE_PAUSE_S

    def __init__(self, stack: Deployed) -> None:
        self._stack = stack
        self._url = stack.described["queue"]

    def read(self) -> list[dict[str, Any]]:
        asked = {"QueueUrl": self._url, "MaxNumberOfMessages": 10}
        messages = self._stack.call("sqs", "ReceiveMessage", asked).get("Messages", [])
        region = self._stack.described["region"]
        return [
            sqs_message(message["MessageId"], message["ReceiptHandle"], message["Body"], region=region)
            for message in messages
        ]

    def done(self, batch: list[dict[str, Any]]) -> None:
        for message in batch:
            asked = {"QueueUrl": self._url, "ReceiptHandle": message["receiptHandle"]}
            self._stack.call("sqs", "DeleteMessage", asked)
