"""``make smoke``: posts one marked record in each wire format to a deployed stack, waits until they are in their table,
and counts them there.

What it creates on this machine is removed. The rows stay, by default in a table that no user queries.
"""

import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import Account, describe_error, open_account
from deploy.lake import Lake, find_program
from deploy.post import Access, Answer, Signer, send
from deploy.records import CANARY, Request, build_requests, find_column, find_route, read_record
from deploy.stack import Stack, find_stack
from local.console import Failure, say
from local.places import ROOT, function_url

_CONTRACTS = ROOT / "datasets"
#: Besides the windows of the event sources: cold starts, notifications, commits.
_SECONDS = 180


@dataclass(frozen=True)
class Plan:
    """What to test."""

    stack: str
    region: str | None = None
    #: URL of ingest, if not that of the stack's outputs.
    url: str | None = None
    dataset: str = CANARY
    record: Path | None = None
    column: str | None = None
    contracts: Path | None = None
    seconds: int | None = None
    key: str | None = field(default=None, repr=False)


@dataclass
class Outcome:
    """What became of one record."""

    request: Request
    answer: Answer
    rows: int | None = None
    #: Why there is no row, if quarantine says it.
    reason: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether the record is stored and in its table once."""
        return not self.answer.fault and self.rows == 1

    def describe(self) -> str:
        """For the last column of the summary."""
        if self.answer.fault:
            return f"NOT STORED: {self.answer.fault}"
        match self.rows:
            case None:
                return "NOT KNOWN: the table cannot be read"
            case 0:
                return f"MISSING{': ' + self.reason if self.reason else ''}"
            case 1:
                return "once"
            case many:
                return f"{many} TIMES"


def run(plan: Plan, open_: Callable[[str | None, str | None], Account] = open_account) -> int:
    """Tests a stack. Returns 0, or 1 if a record is not in its table exactly once. ``open_`` opens the account, for
    tests."""
    if plan.seconds is not None and plan.seconds < 1:
        raise Failure("the time limit must be at least one second", 2)
    record = read_record(plan.dataset, plan.record)
    column = find_column(record, plan.column)
    route = find_route(plan.dataset, plan.contracts or _CONTRACTS)
    program = find_program()
    account = open_(plan.region, None)
    if not account.region:
        raise Failure("no region is set: make smoke STACK=... REGION=eu-west-1, or set AWS_REGION", 2)
    stack = _read_stack(account, plan.stack)
    url, access = _find_url(account, stack, plan), _choose_access(account, stack, plan)
    seconds = plan.seconds or _SECONDS + sum(
        int(float(stack.parameters.get(name) or 0)) for name in ("CleanerWindowSeconds", "CompactorWindowSeconds")
    )
    lake = Lake(program, stack.outputs["Lake"], stack.outputs["StreamName"], _environment(account), plan.contracts)

    until = time.monotonic() + seconds
    now = datetime.now(UTC)
    mark = f"smoke-{now:%Y%m%dt%H%M%S}-{secrets.token_hex(4)}"
    requests = list(build_requests(plan.dataset, route, record, mark, now.strftime("%Y-%m-%dT%H:%M:%SZ")))
    say(f"posting {len(requests)} records of {plan.dataset} to {url}, {access.describe()}; they are marked {mark}-...")
    outcomes = [Outcome(request, send(url, request, access, until)) for request in requests]
    is_drained, waited = _collect(lake, plan.dataset, column, outcomes, until)
    _print(plan, outcomes, is_drained, waited)
    return 0 if is_drained and all(outcome.is_good for outcome in outcomes) else 1


def _read_stack(account: Account, name: str) -> Stack:
    try:
        stack = find_stack(account, name)
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"the stack {name} cannot be read in {account.region}: {describe_error(error)}") from error
    if stack is None:
        raise Failure(f"there is no stack {name} in {account.region}: make smoke STACK=name REGION=eu-west-1", 2)
    missing = [key for key in ("IngestUrl", "Lake", "StreamName") if key not in stack.outputs]
    if missing:
        text = f"the stack {name} ({stack.status}) has no output {', '.join(missing)}"
        raise Failure(f"{text}; deploy it first, or name a stack of pinlake")
    return stack


def _find_url(account: Account, stack: Stack, plan: Plan) -> str:
    if plan.url:
        parts = urlsplit(plan.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            # The URL is not printed, because it may contain a password.
            raise Failure("URL must be like https://host/path, without user, password and query", 2)
        return plan.url
    published = stack.outputs["IngestUrl"]
    endpoint = account.client("cloudformation").meta.endpoint_url
    is_aws = ".amazonaws." in endpoint or endpoint.endswith(".api.aws")
    return published if is_aws else function_url(endpoint, published)


def _choose_access(account: Account, stack: Stack, plan: Plan) -> Access:
    """Chooses as the template does. Raises Failure with exit code 2 if a key is needed."""
    if plan.key:
        return Access(key=plan.key)
    if stack.parameters.get("AnonymousIngest") == "true":
        return Access()
    if stack.parameters.get("IngestApiKeys"):
        raise Failure("callers of this stack send an API key; set PINLAKE_API_KEY to one that may write the dataset", 2)
    credentials = account.session.get_credentials()
    if credentials is None:
        raise Failure("there are no AWS credentials to sign with; sign in, or set AWS_PROFILE", 2)
    return Access(signer=Signer(credentials.get_frozen_credentials(), str(account.region)))


def _environment(account: Account) -> dict[str, str]:
    """The environment of pinlake, which reads credentials from it and knows no profiles. Settings of other lakes would
    mislead it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PINLAKE")}
    kept.pop("AWS_PROFILE", None)
    credentials = account.session.get_credentials()
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        kept |= {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key}
        kept.pop("AWS_SESSION_TOKEN", None)
        kept |= {"AWS_SESSION_TOKEN": frozen.token} if frozen.token else {}
    return kept | {"AWS_REGION": str(account.region)}


def _collect(lake: Lake, dataset: str, column: str, outcomes: list[Outcome], until: float) -> tuple[bool, float]:
    """Waits for the stored records and counts their rows. Returns whether the pipeline drained, and the seconds."""
    acks: dict[str, int] = {}
    stored = [outcome for outcome in outcomes if not outcome.answer.fault]
    for outcome in stored:
        for shard, number in outcome.answer.acks.items():
            acks[shard] = max(number, acks.get(shard, 0))
    if not acks:
        return False, 0.0
    started = time.monotonic()
    left = max(1, int(until - started))
    say(f"waiting until they are in their table, at most {left} s")
    with tempfile.TemporaryDirectory(prefix="pinlake-smoke-") as folder:
        is_drained = lake.wait(acks, Path(folder), left)
    waited = time.monotonic() - started
    # Also if it has not drained: some of the records may be there.
    counted = lake.count(dataset, column, [outcome.request.mark for outcome in stored])
    for outcome in stored:
        outcome.rows = None if counted is None else counted[outcome.request.mark]
        if outcome.rows == 0:
            outcome.reason = lake.explain(outcome.request.mark)
    return is_drained, waited


def _print(plan: Plan, outcomes: list[Outcome], is_drained: bool, waited: float) -> None:
    """Prints the summary."""
    head = ("wire format", "request", "status", "answer after", f"row in {plan.dataset}")
    lines = [head] + [
        (
            outcome.request.wire,
            f"{outcome.request.method} {outcome.request.path}",
            str(outcome.answer.status or "-"),
            f"{outcome.answer.seconds:.2f} s",
            outcome.describe(),
        )
        for outcome in outcomes
    ]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head) - 1)]
    for line in lines:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths)), line[-1]]))
    good = sum(outcome.is_good for outcome in outcomes)
    state = f"drained after {waited:.0f} s" if is_drained else "NOT DRAINED"
    print(f"\n{plan.stack}: {good} of {len(outcomes)} records are in their table once; {state}", flush=True)
