"""Records of Lambda events (Lambda Developer Guide, "Using Lambda with Amazon Kinesis Data Streams", "Using Lambda with
Amazon SQS")."""

from typing import Any


def kinesis_record(
    shard: str,
    sequence: str,
    key: str,
    data: str,
    arrived: float,
    *,
    region: str = "us-east-1",
    stream: str = "records",
) -> dict[str, Any]:
    """A Kinesis record; ``data`` in base64, ``arrived`` in seconds since 1970."""
    kinesis = {
        "kinesisSchemaVersion": "1.0", "partitionKey": key, "sequenceNumber": sequence, "data": data,
        "approximateArrivalTimestamp": arrived,
    }  # fmt: skip
    return {
        "kinesis": kinesis, "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventName": "aws:kinesis:record",
        "eventID": f"{shard}:{sequence}", "awsRegion": region,
        "eventSourceARN": f"arn:aws:kinesis:{region}:000000000000:stream/{stream}",
        "invokeIdentityArn": "arn:aws:iam::000000000000:role/bench",
    }  # fmt: skip


def sqs_message(number: str, receipt: str, body: str, *, region: str = "us-east-1") -> dict[str, Any]:
    """A message of the trigger queue."""
    return {
        "messageId": number, "receiptHandle": receipt, "body": body, "attributes": {}, "messageAttributes": {},
        "md5OfBody": "", "eventSource": "aws:sqs", "awsRegion": region,
        "eventSourceARN": f"arn:aws:sqs:{region}:000000000000:triggers",
    }  # fmt: skip
