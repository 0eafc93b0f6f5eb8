"""Section freshness: from 2xx to visible in the table, at a steady rate through the whole local stack.

Every row has its own number, so the commit that added it is known. A row has five times in ascending order:
acknowledged (the client has the response), cleaner invoked, landed, compactor invoked, visible (the commit is in the
log). The rows of a request count as landed when its last Kinesis record has landed.
"""

import http.client
import json
import queue
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from bench import inputs, machine, report
from bench.deployed import Invocation, Stack, start_stack
from bench.event_sources import deliver_with_windows
from bench.handlers import trigger_event
from bench.inputs import DATASETS
from bench.measure import percentile
from bench.places import ROOT, WORK, binary

RATE = 1_000
BATCH = 250
MAX_WORK_S = 2
# Seconds that are sent and checked but not counted: at first functions start, and at the end batches no longer fill.
WARM_UP_S, RUN_OUT_S = 10, 30
_CLIENTS = 6
_DRAIN_S = 600
_IDLE_CALLS = 30
WAITS = ("until the cleaner is invoked", "until the compactor is invoked")
WORK_OF = ("cleaner, until it has landed", "compactor, until it is visible")


@dataclass
class Sent:
    """A request and the time of its response."""

    dataset: str
    numbers: list[int]
    body: bytes
    due: float = 0
    acknowledged: float = 0
    sequence: int = 0
    # The error, if the response was not 2xx.
    failure: str = ""


@dataclass(frozen=True)
class Row:
    """The five times of a row, in seconds since 1970."""

    acknowledged: float
    cleaner: float
    landed: float
    compactor: float
    visible: float

    @property
    def waits(self) -> tuple[float, float]:
        """Waits outside pinlake, at least 0: the cleaner may start before the client has the response, and a running
        compactor takes objects that land meanwhile."""
        return max(0, self.cleaner - self.acknowledged), max(0, self.compactor - self.landed)

    @property
    def work(self) -> tuple[float, float]:
        """Work of cleaner and compactor. The cleaner's counts in full, even if it started before the response."""
        return self.landed - self.cleaner, self.visible - max(self.landed, self.compactor)

    @property
    def total(self) -> float:
        """2xx to visible."""
        return self.visible - self.acknowledged


def build_requests(count: int) -> list[Sent]:
    """Builds requests for the datasets in turn. Numbers are unique in a dataset."""
    source = inputs.generate(count * BATCH // len(DATASETS) + BATCH)
    turns = [_read_batches(source / f"{dataset}.ndjson", dataset) for dataset in DATASETS]
    return [next(turns[number % len(turns)]) for number in range(count)]


def _read_batches(path: Path, dataset: str) -> Iterator[Sent]:
    seen: set[int] = set()
    batch: dict[int, bytes] = {}
    for line in path.read_bytes().splitlines():
        record = json.loads(line)
        number = record["index"] if "index" in record else record["ind"]
        if number in seen:
            continue
        seen.add(number)
        batch[number] = line
        if len(batch) == BATCH:
            yield Sent(dataset, list(batch), b"\n".join(batch.values()))
            batch = {}


def send(url: str, sent: list[Sent]) -> None:
    """Posts requests at the rate, even if responses fall behind."""
    due: queue.Queue[Sent | None] = queue.Queue()
    clients = [threading.Thread(target=_post_requests, args=(url, due), daemon=True) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    started = time.time()
    for number, request in enumerate(sent):
        request.due = started + number * BATCH / RATE
        time.sleep(max(0, request.due - time.time()))
        due.put(request)
    for _ in clients:
        due.put(None)
    for client in clients:
        client.join()


def _post_requests(url: str, due: "queue.Queue[Sent | None]") -> None:
    place = urllib.parse.urlsplit(url)
    while (request := due.get()) is not None:
        # One connection for each request, as with many small clients.
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        head = {"Content-Type": "application/x-ndjson"}
        try:
            connection.request("POST", f"{place.path}/v1/{request.dataset}", request.body, head)
            answer = connection.getresponse()
            body = answer.read()
            request.acknowledged = time.time()
            if answer.status == 200:
                request.sequence = int(answer.headers["Pinlake-Ack"].rpartition("=")[2])
            else:
                request.failure = f"{answer.status}: {body[:200]!r}"
        except OSError as error:
            request.failure = repr(error)
        connection.close()


def wait_until_drained(stack: Stack, sent: list[Sent]) -> None:
    """Waits with `pinlake wait` until everything that was acknowledged is in its table."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as acks:
        json.dump({"shardId-000000000000": str(max(request.sequence for request in sent))}, acks)
        acks.flush()
        command = [binary("pinlake"), "wait", "--lake", stack.description["lake"],
                   "--stream", stack.description["stream"], "--acks", acks.name, "--timeout", _DRAIN_S]  # fmt: skip
        subprocess.run(list(map(str, command)), check=True, env=stack.environment, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class LandingObject:
    """A landing object: its range of sequence numbers and its creation time."""

    dataset: str
    first: int
    last: int
    at: float


def list_landing_objects(stack: Stack) -> list[LandingObject]:
    """All landing objects of the run, including deleted ones."""
    found = []
    for key, at in stack.list_created("landing/").items():
        first, last, _ = key.rpartition("/")[2].split("-")
        found.append(LandingObject(key.split("/")[1], int(first), int(last), at))
    return found


@dataclass(frozen=True)
class Commit:
    """A commit that added rows."""

    dataset: str
    at: float
    numbers: tuple[int, ...]


def read_commits(stack: Stack) -> list[Commit]:
    """The commits of all tables in order, each with the rows that it added. Fails if a row was added twice."""
    import duckdb

    found = []
    for dataset in DATASETS:
        seen: set[int] = set()
        log = stack.list_created(f"tables/{dataset}/_delta_log/")
        for key in sorted(key for key in log if key.endswith(".json")):
            for action in map(json.loads, stack.get_object(key).splitlines()):
                # Merges (dataChange false) contain rows that are visible already.
                if (add := action.get("add")) and add["dataChange"]:
                    file = WORK / "freshness.parquet"
                    file.write_bytes(stack.get_object(f"tables/{dataset}/{urllib.parse.unquote(add['path'])}"))
                    rows = duckdb.sql(f"SELECT ind FROM read_parquet('{file}')").fetchall()
                    numbers = tuple(number for (number,) in rows)
                    duplicates = seen.intersection(numbers)
                    assert not duplicates and len(set(numbers)) == len(numbers), (
                        f"{dataset} has rows twice: {duplicates}"
                    )
                    seen.update(numbers)
                    found.append(Commit(dataset, log[key], numbers))
    return found


def find_invocation(invocations: list[Invocation], at: float, proof: str = "") -> Invocation:
    """The invocation that was running at a time and logged a line that matches `proof`. Of several, the one that
    started first, which gives the longest time of work."""
    # Times in the log are truncated to milliseconds.
    running = [one for one in invocations if one.started - 0.002 <= at <= one.ended + 0.002]
    proven = [one for one in running if any(re.search(proof, line) for line in one.log)]
    if not proven:
        raise SystemExit(f"no invocation at {at} logged {proof!r}; {len(running)} were running")
    return proven[0]


def trace_rows(
    sent: list[Sent], landed: list[LandingObject], committed: list[Commit], runs: dict[str, list[Invocation]]
) -> list[Row]:
    """The times of every row. Fails if a row is missing."""
    visible = {(commit.dataset, number): commit for commit in committed for number in commit.numbers}
    started = {}
    for commit in committed:
        proof = f'"dataset":"{commit.dataset}".*rows_inserted'
        started[commit] = find_invocation(runs["compactor"], commit.at, proof).started
    cleaned = {landing: find_invocation(runs["cleaner"], landing.at).started for landing in landed}
    rows = []
    for request in sent:
        landing = next(
            one for one in landed if one.dataset == request.dataset and one.first <= request.sequence <= one.last
        )
        for number in request.numbers:
            commit = visible.pop((request.dataset, number))
            rows.append(
                Row(request.acknowledged, cleaned[landing], landing.at, min(started[commit], commit.at), commit.at)
            )
    assert not visible, f"{len(visible)} rows were not sent"
    return rows


def measure_idle_call(stack: Stack) -> float:
    """Seconds of a compactor call that finds nothing: a listing, and the overhead of the stand-in."""
    since = time.time()
    for _ in range(_IDLE_CALLS):
        stack.invoke("compactor", trigger_event("user"))
    time.sleep(1)
    calls = stack.list_invocations("compactor", since, time.time())
    return percentile([call.ended - call.started for call in calls], 0.5)


def run(seconds: int) -> None:
    """Measures without windows and with those of the template, and prints the waits that AWS documents."""
    template = (ROOT / "template.yaml").read_text()
    defaults = tuple(_parameter_default(template, f"{name}WindowSeconds") for name in ("Cleaner", "Compactor"))
    others = machine.busy_share()
    figures = {}
    for name, window_seconds in (("no windows", None), ("windows of {} and {} s".format(*defaults), defaults)):
        print(f"## freshness: 2xx to visible, {RATE:,} records/s for {seconds} s, {BATCH} a request, {name}\n")
        figures[name] = measure_run(seconds, window_seconds)
        print_figures(figures[name])
    print(f"  other processes used {others:.2f} processors before the run\n")
    print_aws_waits(*defaults)
    settings = {
        "rate": RATE,
        "batch": BATCH,
        "seconds": seconds,
        "warm_up_s": WARM_UP_S,
        "run_out_s": RUN_OUT_S,
        "others_share": others,
    }
    report.save("freshness", settings, figures)


def measure_run(seconds: int, window_seconds: tuple[int, int] | None) -> dict[str, Any]:
    """Measures one run on a new stack, with batching windows or with the stand-in's event sources, which have none."""
    sent = build_requests((WARM_UP_S + seconds + RUN_OUT_S) * RATE // BATCH)
    with start_stack() as stack:
        since = time.time()
        with deliver_with_windows(stack, *window_seconds) if window_seconds else nullcontext():
            send(stack.description["ingest_url"], sent)
            failed = [request.failure for request in sent if request.failure]
            assert not failed, failed[:3]
            wait_until_drained(stack, sent)
        # The stand-in writes the log of an invocation when it ends.
        time.sleep(1)
        until = time.time()
        nothing = measure_idle_call(stack)
        landed, committed = list_landing_objects(stack), read_commits(stack)
        runs = {function: stack.list_invocations(function, since, until) for function in ("cleaner", "compactor")}
    started = sent[0].due + WARM_UP_S
    rows = [row for row in trace_rows(sent, landed, committed, runs) if started <= row.acknowledged < started + seconds]
    pieces = {
        name: [part(row) for row in rows]
        for name, part in (
            (WAITS[0], lambda row: row.waits[0]), (WORK_OF[0], lambda row: row.work[0]),
            (WAITS[1], lambda row: row.waits[1]), (WORK_OF[1], lambda row: row.work[1]),
            ("2xx to visible", lambda row: row.total), ("of it pinlake", lambda row: sum(row.work)),
        )
    }  # fmt: skip
    took = max(request.acknowledged for request in sent) - sent[0].due
    return {
        "rows": len(rows), "records_per_s": round(len(sent) * BATCH / took), "call_of_nothing_s": nothing,
        "commits": len(committed), "landing_objects": len(landed),
        "answer_s": _spread([request.acknowledged - request.due for request in sent]),
        "pieces_s": {name: _spread(values) for name, values in pieces.items()},
        "invocations_s": {name: _spread([one.ended - one.started for one in called]) for name, called in runs.items()},
        "invocations": {name: len(called) for name, called in runs.items()},
        # Seconds since the first was counted: acknowledged, cleaner invoked, landed, compactor invoked, visible.
        "every_250th_row": [report.join_figures((at - started for at in astuple(row)), 3) for row in rows[::250]],
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(percentile(values, part), 4) for name, part in (("p50", 0.5), ("p95", 0.95), ("most", 1))}


def print_figures(figures: dict[str, Any]) -> None:
    """Prints the table of a run."""
    rows = [[name, *(f"{value:.2f}" for value in spread.values())] for name, spread in figures["pieces_s"].items()]
    aims = [f"p95 < {MAX_WORK_S}" if name == "of it pinlake" else "" for name in figures["pieces_s"]]
    rows = [[*row, aim] for row, aim in zip(rows, aims)]
    print(report.format_table(["seconds", "p50", "p95", "max", "target"], rows))
    print(
        f"\n  {figures['rows']:,} rows at {figures['records_per_s']:,} a second, acknowledged "
        f"{_ms(figures['answer_s'])} ms after their send time (p50, p95); {figures['commits']} commits"
    )
    for name, spread in figures["invocations_s"].items():
        print(f"  {figures['invocations'][name]} invocations of the {name} of {_ms(spread)} ms (p50, p95)")
    nothing = figures["call_of_nothing_s"] * 1e3
    print(f"  a compactor call that finds nothing takes {nothing:.0f} ms: a listing, and the stand-in's overhead\n")


def _ms(spread: dict[str, float]) -> str:
    return f"{spread['p50'] * 1e3:.0f}, {spread['p95'] * 1e3:.0f}"


def print_aws_waits(cleaner: int, compactor: int) -> None:
    """Prints the waits that AWS documents, with the template's default windows."""
    events = "Lambda Developer Guide, How Lambda processes records from stream and queue-based event sources"
    rows = [
        ["Kinesis to its reader", "0.2 s on average", "-",
         "Kinesis Developer Guide, Reading Data from Amazon Kinesis Data Streams"],
        ["event source polls a shard", "once a second", "-",
         "Lambda Developer Guide, How Lambda processes records from Amazon Kinesis Data Streams"],
        ["batching window of the cleaner", f"at most {cleaner} s, less when 6 MB are there", "0 s", events],
        ["S3 notifies the queue", "typically seconds, sometimes a minute or longer", "-",
         "S3 User Guide, Amazon S3 Event Notifications"],
        ["batching window of the compactor", f"at most {compactor} s", "1 s", events],
    ]  # fmt: skip
    print(report.format_table(["wait on AWS", "template's defaults", "minimum", "documented in"], rows))
    print()


def _parameter_default(template: str, parameter: str) -> int:
    return int(re.search(rf"^  {parameter}:\n(?:    .*\n)*?    Default: (\d+)$", template, re.MULTILINE).group(1))
