"""Sends rows through every source except HTTP, some of them twice, and checks that each row is in its table once."""

import gzip
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import broker
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.config import Config
from confluent_kafka import Producer
from deployed import ROOM, Users


def user(ind: int) -> bytes:
    """A row as clients send it."""
    row = {"ind": ind, "first_name": "Noor", "last_name": "Okafor", "age": 34, "date_joined": "2016-08-09 10:11:12"}
    return json.dumps(row).encode()


class Stack(Users):
    """The stack, its table of users, and its services."""

    def client(self, service: str) -> Any:
        """A boto3 client of the stand-in."""
        session = boto3.session.Session("test", "test", region_name=self.described["region"])
        return session.client(service, endpoint_url=self.described["endpoint"], config=Config(proxies={}))


def kinesis(stack: Stack, first: int) -> int:
    """Puts records on the stream: one, several, with several lines, compressed, and aggregated as the KPL does."""
    client, stream = stack.client("kinesis"), stack.described["stream"]
    client.put_record(StreamName=stream, PartitionKey="user", Data=user(first))
    lines = user(first + 1) + b"\n" + user(first + 2) + b"\n"
    aggregator = RecordAggregator()
    for ind in range(first + 5, first + 8):
        aggregator.add_user_record("user", user(ind))
    key, _, aggregate = aggregator.clear_and_get().get_contents()
    records = [
        {"PartitionKey": "partition-1", "Data": lines},
        {"PartitionKey": "user", "Data": gzip.compress(user(first + 3) + b"\n" + user(first + 4))},
        {"PartitionKey": key, "Data": aggregate},
    ]
    for _ in range(2):
        assert client.put_records(StreamName=stream, Records=records)["FailedRecordCount"] == 0
    return 8


def kafka(stack: Stack, first: int, log: Path) -> int:
    """Produces to topics and invokes the deployed cleaner with their batches, each twice."""
    topics, count, partitions = [f"t{first}.user", f"u{first}.user"], 40, 2
    function = stack.described["functions"]["cleaner"]
    client = stack.client("lambda")
    with broker.running(log) as address:
        broker.make_topics(address, topics, partitions)
        producer = Producer({"bootstrap.servers": address})
        for number in range(count):
            producer.produce(
                topics[number % 2],
                value=user(first + number),
                key=b"key",
                partition=number // 2 % partitions,
                headers=[("by", b"\xff")],
            )
        # An invalid record must not block its partition.
        producer.produce(topics[0], value=f"no JSON {first}".encode(), partition=0)
        assert producer.flush(30) == 0
        for event in broker.batches(address, topics, partitions, count + 1, size=15):
            for _ in range(2):
                answer = client.invoke(FunctionName=function, Payload=json.dumps(event))
                body = answer["Payload"].read()
                assert "FunctionError" not in answer and json.loads(body) == {"batchItemFailures": []}, body
    s3, bucket = stack.client("s3"), stack.described["bucket"]
    watermark = s3.get_object(Bucket=bucket, Key=f"state/watermarks/{topics[1]}/partition-1.json")["Body"].read()
    assert json.loads(watermark) == {"sequence": "9"}, watermark
    return count


def inbox(stack: Stack, first: int) -> int:
    """Puts files of several formats into the inbox."""
    s3, bucket = stack.client("s3"), stack.described["bucket"]
    header = "ind,first_name,last_name,age,date_joined\n"
    rows = "".join(f"{ind},Noor,Okafor,34,2016-08-09 10:11:12\n" for ind in range(first, first + 5))
    array = b"[" + b",".join(user(ind) for ind in range(first + 3, first + 8)) + b"]"
    dropped = {"of may.csv": (header + rows).encode(), "june.json.gz": gzip.compress(array)}
    for name, body in dropped.items():
        s3.upload_fileobj(io.BytesIO(body), bucket, f"inbox/user/{first}/{name}")
    return 8


def inbox_is_moved(stack: Stack, first: int) -> None:
    """Checks that the loaded files were moved from the inbox to raw/."""
    s3, bucket = stack.client("s3"), stack.described["bucket"]

    def under(prefix: str) -> int:
        return s3.list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/user/{first}/")["KeyCount"]

    assert (under("inbox"), under("raw/inbox")) == (0, 2), (under("inbox"), under("raw/inbox"))


def admit_sink(stack: Stack, bucket: str) -> None:
    """Lets the compactor read from a bucket, like the template's parameter SinkBucket."""
    functions, name = stack.client("lambda"), stack.described["functions"]["compactor"]
    settings = functions.get_function_configuration(FunctionName=name)["Environment"]
    settings["Variables"]["PINLAKE_SINK_BUCKET"] = bucket
    functions.update_function_configuration(FunctionName=name, Environment=settings)


def sink(stack: Stack, first: int) -> int:
    """Puts objects with one record each into a bucket: three before it has notifications, and three after."""
    s3, bucket = stack.client("s3"), f"sink-{first}"
    s3.create_bucket(Bucket=bucket)
    admit_sink(stack, bucket)
    topic = f"t{first}.user"

    def put(offset: int) -> None:
        key = f"topics/{topic}/partition=0/{topic}+0+{offset:010}.json"
        s3.put_object(Bucket=bucket, Key=key, Body=user(first + offset) + b"\n")

    for offset in range(3):
        put(offset)
    sqs, queue = stack.client("sqs"), stack.described["queue"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    configuration = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)
    for offset in range(3, 6):
        put(offset)
    stack.expect_users("a sink's bucket, announced", first + 3, 3)
    printed = json.loads(stack.pinlake("load", "--lake", stack.described["lake"], f"s3://{bucket}/topics"))
    assert (printed["read"], printed["inserted"], printed["duplicates"]) == (6, 3, 3), printed
    return 6


def main() -> None:
    """Sends the rows of all sources, then checks them."""
    stack = Stack(Path(sys.argv[1]), Path(sys.argv[2]))
    begin = time.time_ns() // 1_000_000 * 10 * ROOM
    places = {name: begin + at * ROOM for at, name in enumerate(("kinesis", "kafka", "inbox", "sink"))}
    log = Path(sys.argv[1]).with_name("broker.log")
    sent = {
        "Kinesis producers": (places["kinesis"], kinesis(stack, places["kinesis"])),
        "Kafka topics": (places["kafka"], kafka(stack, places["kafka"], log)),
        "the inbox": (places["inbox"], inbox(stack, places["inbox"])),
        "a sink's bucket, loaded": (places["sink"], sink(stack, places["sink"])),
    }
    for source, (first, count) in sent.items():
        stack.expect_users(source, first, count)
    inbox_is_moved(stack, places["inbox"])


if __name__ == "__main__":
    main()
