"""Serializes NDJSON and the JSON of the Kinesis API for schemathesis."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Sends a text of JSON lines unchanged, such as the example in the document; any other value as one line."""
    if isinstance(value, str) and value.strip() and all(map(is_json, value.split("\n"))):
        return value.encode()
    return json.dumps(value).encode()


@schemathesis.serializer("application/x-amz-json-1.1")
def amazon_json(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """Sends a value as JSON, as Amazon's SDKs do."""
    return json.dumps(value).encode()


def is_json(line: str) -> bool:
    """Whether a line is a JSON value or blank."""
    try:
        json.loads(line.strip() or "null")
    except ValueError:
        return False
    return True
