"""Event sources with batching windows, which the stand-in's own do not have.

Lambda Developer Guide, "How Lambda processes records from stream and queue-based event sources":
a function is invoked when the batch is full, when its event has 6 MB, or when the window ends. The window starts when
the previous invocation ends. One shard is read, once a second; one batch of messages is in flight at a time.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.deployed import Stack
from bench.events import kinesis_record, sqs_message

_EVENT_BYTES = 6_000_000
# BatchSize in template.yaml.
_RECORDS, _MESSAGES = 1_000, 100
# Lambda polls a shard once a second and a queue continuously.
_SHARD_PAUSE_S, _QUEUE_PAUSE_S = 1, 0.1
_SHARD = "shardId-000000000000"


@contextmanager
def deliver_with_windows(stack: Stack, cleaner_s: int, compactor_s: int) -> Iterator[None]:
    """Delivers to cleaner and compactor with these windows until the context ends."""
    stop = threading.Event()
    for function in ("cleaner", "compactor"):
        stack.disable_event_sources(function)
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


def _deliver(stack: Stack, function: str, source: "_Shard | _Queue", window_s: int, stop: threading.Event) -> None:
    rest: list[dict[str, Any]] = []
    while not stop.is_set():
        batch, rest = _gather(source, window_s, rest, stop.is_set)
        if batch:
            response = stack.invoke(function, {"Records": batch})
            assert not response["batchItemFailures"], response
            source.acknowledge(batch)


def _gather(
    source: "_Shard | _Queue", window_s: int, rest: list[dict[str, Any]], is_stopped: Callable[[], bool]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Collects a batch; returns it and the records that are left for the next one."""
    over = time.monotonic() + window_s
    records, size = list(rest), sum(len(json.dumps(record)) for record in rest)
    while time.monotonic() < over and len(records) < source.max_records and size < _EVENT_BYTES and not is_stopped():
        time.sleep(source.pause_s)
        more = source.read()
        records += more
        size += sum(len(json.dumps(record)) for record in more)
    end, size = 0, 0
    while end < min(len(records), source.max_records) and size < _EVENT_BYTES:
        size += len(json.dumps(records[end])) + 2
        # A batch has at least one record, however large.
        end += 1 if size < _EVENT_BYTES or end == 0 else 0
    return records[:end], records[end:]


class _Shard:
    """The single shard of the stream."""

    max_records, pause_s = _RECORDS, _SHARD_PAUSE_S

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        arguments = {"StreamName": stack.description["stream"], "ShardId": _SHARD, "ShardIteratorType": "TRIM_HORIZON"}
        self._iterator = stack.call("kinesis", "GetShardIterator", arguments)["ShardIterator"]

    def read(self) -> list[dict[str, Any]]:
        response = self._stack.call("kinesis", "GetRecords", {"ShardIterator": self._iterator})
        self._iterator = response["NextShardIterator"]
        return [self._record(record) for record in response["Records"]]

    def acknowledge(self, batch: list[dict[str, Any]]) -> None:
        pass

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        return kinesis_record(
            _SHARD,
            record["SequenceNumber"],
            record["PartitionKey"],
            record["Data"],
            record["ApproximateArrivalTimestamp"],
            region=self._stack.description["region"],
            stream=self._stack.description["stream"],
        )


class _Queue:
    """The trigger queue."""

    max_records, pause_s = _MESSAGES, _QUEUE_PAUSE_S

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._url = stack.description["queue"]

    def read(self) -> list[dict[str, Any]]:
        arguments = {"QueueUrl": self._url, "MaxNumberOfMessages": 10}
        messages = self._stack.call("sqs", "ReceiveMessage", arguments).get("Messages", [])
        region = self._stack.description["region"]
        return [
            sqs_message(message["MessageId"], message["ReceiptHandle"], message["Body"], region=region)
            for message in messages
        ]

    def acknowledge(self, batch: list[dict[str, Any]]) -> None:
        for message in batch:
            arguments = {"QueueUrl": self._url, "ReceiptHandle": message["receiptHandle"]}
            self._stack.call("sqs", "DeleteMessage", arguments)
