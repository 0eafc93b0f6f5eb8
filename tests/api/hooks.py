"""What schemathesis has to be told to send: lines of JSON."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text of such lines as it is, as in the document's example; any other value on a line."""
    if isinstance(value, str) and value.strip() and all(map(is_json, value.split("\n"))):
        return value.encode()
    return json.dumps(value).encode()


def is_json(line: str) -> bool:
    """Whether a line is a value, or blank."""
    try:
        json.loads(line.strip() or "null")
    except ValueError:
        return False
    return True
