"""The whole local stack with the programs that are measured, and what it tells of the past: when which object came, and
which function ran from when to when.

The stack is a stack of the bench's own, started by `python -m local up` in the environment that has what it needs.
Everything here is asked over plain HTTP: the stand-in looks at no signature.
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
# The stand-in gives at most 10,000 lines of log an answer and no way to go on: asked for a few seconds at a time.
_LOG_STEP_MS = 5_000


@dataclass(frozen=True)
class Invocation:
    """One run of a function, by the stand-in's log; times in seconds since 1970."""

    begun: float
    ended: float
    log: tuple[str, ...]


class Deployed:
    """A stack that runs."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.described = described
        self._endpoint = described["endpoint"]

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to work on this stack, and on no account."""
        return os.environ | {
            "AWS_ENDPOINT_URL": self._endpoint, "AWS_REGION": self.described["region"], "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def object(self, key: str) -> bytes:
        """An object's bytes."""
        return self._get(f"/{self.described['bucket']}/{urllib.parse.quote(key)}")

    def came(self, prefix: str) -> dict[str, float]:
        """When each object under a prefix came, deleted ones included: the bucket has versions."""
        found: dict[str, float] = {}
        marker: dict[str, str] = {}
        while True:
            query = urllib.parse.urlencode({"versions": "", "prefix": prefix} | marker)
            page = ElementTree.fromstring(self._get(f"/{self.described['bucket']}?{query}"))
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

    def invocations(self, function: str, since: float, until: float) -> list[Invocation]:
        """The runs of a function that ended within a time, in the order of their beginnings."""
        lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        group = f"/aws/lambda/{self.described['functions'][function]}"
        for begin in range(int(since * 1e3), int(until * 1e3) + 1, _LOG_STEP_MS):
            end = min(begin + _LOG_STEP_MS - 1, int(until * 1e3))
            asked = {"logGroupName": group, "startTime": begin, "endTime": end}
            for event in self.call("logs", "FilterLogEvents", asked)["events"]:
                lines[event["logStreamName"]].append(event)
        return sorted(map(_invocation, lines.values()), key=lambda invocation: invocation.begun)

    def invoke(self, function: str, event: Any) -> Any:
        """Runs a function with an event of one's own and gives its answer."""
        answer = self._lambda("POST", f"functions/{self.described['functions'][function]}/invocations", event)
        assert "errorMessage" not in (answer or {}), answer
        return answer

    def switch_off(self, function: str) -> None:
        """Ends the deliveries of the stand-in's own event source."""
        mappings = self._lambda("GET", f"event-source-mappings/?FunctionName={self.described['functions'][function]}")
        for mapping in mappings["EventSourceMappings"]:
            self._lambda("PUT", f"event-source-mappings/{mapping['UUID']}", {"Enabled": False})

    def call(self, service: str, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """A call of a service that speaks JSON."""
        version = {"logs": "Logs_20140328", "kinesis": "Kinesis_20131202", "sqs": "AmazonSQS"}[service]
        head = {"X-Amz-Target": f"{version}.{operation}", "Content-Type": _JSON[service]}
        return json.loads(self._send(service, "POST", "/", asked, head) or b"{}")

    def _lambda(self, method: str, path: str, asked: Any = None) -> Any:
        return json.loads(self._send("lambda", method, f"/2015-03-31/{path}", asked))

    def _get(self, path: str) -> bytes:
        return self._send("s3", "GET", path)

    def _send(
        self, service: str, method: str, path: str, asked: Any = None, head: dict[str, str] | None = None
    ) -> bytes:
        body = None if asked is None else json.dumps(asked).encode()
        head = {"Authorization": _SIGNED.format(service)} | (head or {})
        request = urllib.request.Request(self._endpoint + path, body, head, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.read()


def _invocation(events: list[dict[str, Any]]) -> Invocation:
    """The stand-in writes the lines of a run when it is over, and how long it took into the last."""
    report = next(event for event in events if event["message"].startswith("REPORT"))
    milliseconds = int(re.search(r"Duration: (\d+)", report["message"]).group(1))
    ended = report["timestamp"] / 1e3
    return Invocation(ended - milliseconds / 1e3, ended, tuple(event["message"] for event in events))


@contextmanager
def deployed() -> Iterator[Deployed]:
    """Brings the stack up, and down again at the end."""
    surroundings = os.environ | {
        "PINLAKE_STATE": _STATE, "PINLAKE_PORT": str(PORT), "CARGO_BUILD_TARGET": target(),
    }  # fmt: skip
    local = [ROOT / ".venv" / "bin" / "python", "-m", "local"]
    try:
        programs = binary("ingest").parent.resolve()
        subprocess.run([*local, "up", "--programs", programs], check=True, cwd=ROOT, env=surroundings)
        yield Deployed(json.loads((ROOT / "target" / _STATE / "stack.json").read_text()))
    finally:
        subprocess.run([*local, "down"], check=True, cwd=ROOT, env=surroundings)
