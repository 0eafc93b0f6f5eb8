"""A local stack with the measured binaries, and its history: when objects were created and functions ran.

`python -m local up` starts the stack, apart from other stacks. It is queried over plain HTTP, because the stand-in
checks no signatures.
"""

import json
import os
import re
import subprocess
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.handlers import PORT
from bench.places import ROOT, binary, target

_STATE = os.environ.get("PINLAKE_STATE", "freshness")
_S3 = "{http://s3.amazonaws.com/doc/2006-03-01/}"
_SIGNED = "AWS4-HMAC-SHA256 Credential=test/20220101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"
_JSON = {
    "logs": "application/x-amz-json-1.1",
    "kinesis": "application/x-amz-json-1.1",
    "sqs": "application/x-amz-json-1.0",
}
# The stand-in returns at most 10,000 log lines and no continuation token, so logs are read some seconds at a time.
_LOG_STEP_MS = 5_000


@dataclass(frozen=True)
class Invocation:
    """One invocation of a function, from the stand-in's log. Times are in seconds since 1970."""

    started: float
    ended: float
    log: tuple[str, ...]


class Stack:
    """A running stack."""

    def __init__(self, description: dict[str, Any]) -> None:
        self.description = description
        self._endpoint = description["endpoint"]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which a program uses this stack."""
        return os.environ | {
            "AWS_ENDPOINT_URL": self._endpoint, "AWS_REGION": self.description["region"], "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def get_object(self, key: str) -> bytes:
        """An object's bytes."""
        return self._get(f"/{self.description['bucket']}/{urllib.parse.quote(key)}")

    def list_created(self, prefix: str) -> dict[str, float]:
        """Creation time of each object under a prefix, including deleted objects, from the bucket's versions."""
        found: dict[str, float] = {}
        marker: dict[str, str] = {}
        while True:
            query = urllib.parse.urlencode({"versions": "", "prefix": prefix} | marker)
            page = ElementTree.fromstring(self._get(f"/{self.description['bucket']}?{query}"))
            for version in page.iter(f"{_S3}Version"):
                at = datetime.fromisoformat(version.findtext(f"{_S3}LastModified", "")).timestamp()
                key = version.findtext(f"{_S3}Key", "")
                found[key] = min(at, found.get(key, at))
            if page.findtext(f"{_S3}IsTruncated") != "true":
                return found
            marker = {
                "key-marker": page.findtext(f"{_S3}NextKeyMarker", ""),
                "version-id-marker": page.findtext(f"{_S3}NextVersionIdMarker", ""),
            }

    def list_invocations(self, function: str, since: float, until: float) -> list[Invocation]:
        """The invocations of a function that ended in a period, by start time."""
        lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        group = f"/aws/lambda/{self.description['functions'][function]}"
        for begin in range(int(since * 1e3), int(until * 1e3) + 1, _LOG_STEP_MS):
            end = min(begin + _LOG_STEP_MS - 1, int(until * 1e3))
            arguments = {"logGroupName": group, "startTime": begin, "endTime": end}
            for event in self.call("logs", "FilterLogEvents", arguments)["events"]:
                lines[event["logStreamName"]].append(event)
        return sorted(map(_invocation, lines.values()), key=lambda invocation: invocation.started)

    def invoke(self, function: str, event: Any) -> Any:
        """Invokes a function and returns its response."""
        answer = self._lambda("POST", f"functions/{self.description['functions'][function]}/invocations", event)
        assert "errorMessage" not in (answer or {}), answer
        return answer

    def disable_event_sources(self, function: str) -> None:
        """Disables the stand-in's event sources of a function."""
        mappings = self._lambda("GET", f"event-source-mappings/?FunctionName={self.description['functions'][function]}")
        for mapping in mappings["EventSourceMappings"]:
            self._lambda("PUT", f"event-source-mappings/{mapping['UUID']}", {"Enabled": False})

    def call(self, service: str, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Calls an operation of a service with a JSON protocol."""
        version = {"logs": "Logs_20140328", "kinesis": "Kinesis_20131202", "sqs": "AmazonSQS"}[service]
        headers = {"X-Amz-Target": f"{version}.{operation}", "Content-Type": _JSON[service]}
        return json.loads(self._send(service, "POST", "/", arguments, headers) or b"{}")

    def _lambda(self, method: str, path: str, arguments: Any = None) -> Any:
        return json.loads(self._send("lambda", method, f"/2015-03-31/{path}", arguments))

    def _get(self, path: str) -> bytes:
        return self._send("s3", "GET", path)

    def _send(
        self, service: str, method: str, path: str, arguments: Any = None, headers: dict[str, str] | None = None
    ) -> bytes:
        body = None if arguments is None else json.dumps(arguments).encode()
        headers = {"Authorization": _SIGNED.format(service)} | (headers or {})
        request = urllib.request.Request(self._endpoint + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()


def _invocation(events: list[dict[str, Any]]) -> Invocation:
    """Builds an invocation from its log lines. The last one, REPORT, has the duration."""
    report = next(event for event in events if event["message"].startswith("REPORT"))
    milliseconds = int(re.search(r"Duration: (\d+)", report["message"]).group(1))
    ended = report["timestamp"] / 1e3
    return Invocation(ended - milliseconds / 1e3, ended, tuple(event["message"] for event in events))


@contextmanager
def start_stack() -> Iterator[Stack]:
    """Starts the stack, and stops it at the end."""
    environment = os.environ | {
        "PINLAKE_STATE": _STATE, "PINLAKE_PORT": str(PORT), "CARGO_BUILD_TARGET": target(),
    }  # fmt: skip
    local = [ROOT / ".venv" / "bin" / "python", "-m", "local"]
    try:
        programs = binary("ingest").parent.resolve()
        subprocess.run([*local, "up", "--programs", programs], check=True, cwd=ROOT, env=environment)
        yield Stack(json.loads((ROOT / "target" / _STATE / "stack.json").read_text()))
    finally:
        subprocess.run([*local, "down"], check=True, cwd=ROOT, env=environment)
