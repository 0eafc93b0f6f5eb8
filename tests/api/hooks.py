"""What schemathesis has to be told to send: lines of JSON."""

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """A text as it is, which is what the document says; anything else, which it does not, on one line."""
    return value.encode(errors="replace") if isinstance(value, str) else json.dumps(value).encode()
