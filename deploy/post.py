"""Sends a request to ingest: signed, with an API key, or anonymous. Retries what the API says to retry."""

import json
import os
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import ConnectionError, HTTPClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from deploy.records import Request

_ATTEMPTS = 6
_CONNECT_SECONDS = 10
#: The function's own limit is 30 seconds.
_READ_SECONDS = 40
_MAX_DELAY = 20.0


@dataclass(frozen=True)
class Signer:
    """Signs requests for a function URL with AWS_IAM."""

    credentials: ReadOnlyCredentials
    region: str


@dataclass(frozen=True)
class Access:
    """How ingest recognises the caller. Without either, requests are anonymous."""

    key: str | None = None
    signer: Signer | None = None

    def describe(self) -> str:
        """For the user."""
        return "with an API key" if self.key else "signed" if self.signer else "without authentication"


@dataclass(frozen=True)
class Answer:
    """What ingest answered in the end."""

    #: The status; 0 if there was no answer.
    status: int
    #: The highest sequence number of each shard.
    acks: dict[str, int]
    seconds: float
    #: Why the record is not stored; empty if it is.
    fault: str = ""


def send(url: str, request: Request, access: Access, until: float) -> Answer:
    """Sends a request, again after 429, 5xx and lost answers, until the monotonic time ``until``."""
    started = monotonic()
    # A proxy of the environment, unless it excludes the host.
    session = URLLib3Session(
        verify=os.environ.get("AWS_CA_BUNDLE") or True,
        proxies=get_environ_proxies(url),
        timeout=(_CONNECT_SECONDS, _READ_SECONDS),
    )
    try:
        for attempt in range(_ATTEMPTS):
            answer, delay = _try(session, url, request, access, started)
            delay = min(delay or 2.0**attempt, _MAX_DELAY)
            retryable = answer.status in (0, 429) or answer.status >= 500
            if not retryable or attempt + 1 == _ATTEMPTS or monotonic() + delay > until:
                return answer
            sleep(delay)
    finally:
        session.close()
    raise AssertionError("unreachable")


def _try(
    session: URLLib3Session, url: str, request: Request, access: Access, started: float
) -> tuple[Answer, float | None]:
    """One attempt, and the seconds of Retry-After."""
    headers = {"Content-Type": request.content_type, "Idempotency-Key": request.mark}
    if access.key:
        headers["x-api-key"] = access.key
    prepared = AWSRequest(request.method, url.rstrip("/") + request.path, headers=headers, data=request.body)
    if access.signer:
        SigV4Auth(access.signer.credentials, "lambda", access.signer.region).add_auth(prepared)
    try:
        said = session.send(prepared.prepare())
    except (ConnectionError, HTTPClientError) as error:
        return Answer(0, {}, monotonic() - started, f"no answer: {error}"), None
    seconds = monotonic() - started
    after = said.headers.get("Retry-After", "")
    delay = float(after) if after.isdecimal() else None
    if not 200 <= said.status_code < 300:
        return Answer(said.status_code, {}, seconds, _describe(said.status_code, said.text)), delay
    fault = _find_failed(request, said.text)
    acks = parse_acks(said.headers.get("Pinlake-Ack", ""))
    if not fault and not acks:
        fault = "the answer has no Pinlake-Ack; does a proxy remove it?"
    return Answer(said.status_code, acks, seconds, fault), delay


def _describe(status: int, text: str) -> str:
    advice = {
        401: "; set PINLAKE_API_KEY to a valid key",
        403: '; see docs/api.md, "Access"',
        404: "; does the stack have the contract of this dataset?",
    }
    return " ".join(text.split())[:300] + advice.get(status, "")


def _find_failed(request: Request, text: str) -> str:
    """Kafka answers 200 also for records that were not stored."""
    try:
        answer: Any = json.loads(text)
        entries = answer.get("offsets", []) if request.wire == "kafka" else []
        return "".join(str(entry["error"]) for entry in entries if entry.get("error_code") is not None)
    except (ValueError, AttributeError, KeyError, TypeError):
        return f"the answer is not that of ingest: {text[:100]!r}"


def parse_acks(header: str) -> dict[str, int]:
    """Parses a Pinlake-Ack header; empty if it is not one."""
    acks: dict[str, int] = {}
    for entry in filter(None, header.split(",")):
        shard, _, number = entry.strip().partition("=")
        if not shard or not number.isdecimal():
            return {}
        acks[shard] = max(int(number), acks.get(shard, 0))
    return acks
