"""From 2xx to visible in the table: records at a steady rate through the whole local stack, explained piece by piece.

Every row has a number of its own, so that it is known which commit brought it. A row's way has five moments, each not
before the one before it: acknowledged (the client has the answer), cleaner invoked, landed, compactor invoked, visible
(the commit is in the log). A request's rows count as landed when its last Kinesis record has.
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
from bench.deployed import Deployed, Invocation, deployed
from bench.event_sources import windows
from bench.handlers import wake
from bench.inputs import DATASETS
from bench.measure import percentile
from bench.places import ROOT, WORK, binary

RATE = 1_000
BATCH = 250
OURS_MOST_S = 2
# What comes first finds functions that are not started yet, and what comes last no more that would fill its batch. Both
# are sent and checked, but not counted.
WARM_UP_S, RUN_OUT_S = 10, 30
_CLIENTS = 6
_DRAIN_S = 600
_FLOOR_CALLS = 30
WAITS = ("until the cleaner is invoked", "until the compactor is invoked")
WORK_OF = ("cleaner, until it has landed", "compactor, until it is visible")


@dataclass
class Sent:
    """A request, and when its answer was there."""

    dataset: str
    numbers: list[int]
    body: bytes
    due: float = 0
    acknowledged: float = 0
    sequence: int = 0
    # Where the answer was no 2xx.
    failure: str = ""


@dataclass(frozen=True)
class Row:
    """One row's way: the five moments."""

    acknowledged: float
    cleaner: float
    landed: float
    compactor: float
    visible: float

    @property
    def waits(self) -> tuple[float, float]:
        """What is not ours. The stream has a record before the client has the answer, so the cleaner may have begun;
        and a compactor that is running takes what lands meanwhile."""
        return max(0, self.cleaner - self.acknowledged), max(0, self.compactor - self.landed)

    @property
    def work(self) -> tuple[float, float]:
        """Ours: all of what the cleaner took until it had landed, even if it began before the answer was there."""
        return self.landed - self.cleaner, self.visible - max(self.landed, self.compactor)

    @property
    def whole(self) -> float:
        """2xx to visible."""
        return self.visible - self.acknowledged


def requests(count: int) -> list[Sent]:
    """So many requests, the datasets turn about, no number twice in a dataset."""
    source = inputs.generated(count * BATCH // len(DATASETS) + BATCH)
    turns = [_batches(source / f"{dataset}.ndjson", dataset) for dataset in DATASETS]
    return [next(turns[number % len(turns)]) for number in range(count)]


def _batches(path: Path, dataset: str) -> Iterator[Sent]:
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
    """Posts requests at the rate, whether the answers keep up or not."""
    due: queue.Queue[Sent | None] = queue.Queue()
    clients = [threading.Thread(target=_client, args=(url, due), daemon=True) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    begun = time.time()
    for number, request in enumerate(sent):
        request.due = begun + number * BATCH / RATE
        time.sleep(max(0, request.due - time.time()))
        due.put(request)
    for _ in clients:
        due.put(None)
    for client in clients:
        client.join()


def _client(url: str, due: "queue.Queue[Sent | None]") -> None:
    place = urllib.parse.urlsplit(url)
    while (request := due.get()) is not None:
        # A connection a request, as many small clients have it.
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        head = {"Content-Type": "application/x-ndjson"}
        try:
            connection.request("POST", f"{place.path}/v1/{request.dataset}", request.body, head)
            answer = connection.getresponse()
            said = answer.read()
            request.acknowledged = time.time()
            if answer.status == 200:
                request.sequence = int(answer.headers["Pinlake-Ack"].rpartition("=")[2])
            else:
                request.failure = f"{answer.status}: {said[:200]!r}"
        except OSError as error:
            request.failure = repr(error)
        connection.close()


def drain(stack: Deployed, sent: list[Sent]) -> None:
    """Waits until everything that was acknowledged is in its table, by the program's own word."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as acks:
        json.dump({"shardId-000000000000": str(max(request.sequence for request in sent))}, acks)
        acks.flush()
        command = [binary("pinlake"), "wait", "--lake", stack.described["lake"], "--stream", stack.described["stream"],
                   "--acks", acks.name, "--timeout", _DRAIN_S]  # fmt: skip
        subprocess.run(list(map(str, command)), check=True, env=stack.environment, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Landed:
    """A landing object: which part of the stream it has, and when it came."""

    dataset: str
    first: int
    last: int
    at: float


def landings(stack: Deployed) -> list[Landed]:
    """All landing objects that ever were."""
    found = []
    for key, at in stack.came("landing/").items():
        first, last, _ = key.rpartition("/")[2].split("-")
        found.append(Landed(key.split("/")[1], int(first), int(last), at))
    return found


@dataclass(frozen=True)
class Commit:
    """A commit that brought rows."""

    dataset: str
    at: float
    numbers: tuple[int, ...]


def commits(stack: Deployed) -> list[Commit]:
    """The tables' commits in their order, each with the rows that it was the first to have."""
    import duckdb

    found = []
    for dataset in DATASETS:
        seen: set[int] = set()
        log = stack.came(f"tables/{dataset}/_delta_log/")
        for key in sorted(key for key in log if key.endswith(".json")):
            for action in map(json.loads, stack.object(key).splitlines()):
                # A merge of files has rows that are visible already.
                if (add := action.get("add")) and add["dataChange"]:
                    file = WORK / "freshness.parquet"
                    file.write_bytes(stack.object(f"tables/{dataset}/{urllib.parse.unquote(add['path'])}"))
                    rows = duckdb.sql(f"SELECT ind FROM read_parquet('{file}')").fetchall()
                    numbers = tuple(number for (number,) in rows)
                    twice = seen.intersection(numbers)
                    assert not twice and len(set(numbers)) == len(numbers), f"{dataset} has rows twice: {twice}"
                    seen.update(numbers)
                    found.append(Commit(dataset, log[key], numbers))
    return found


def around(invocations: list[Invocation], at: float, proof: str = "") -> Invocation:
    """The invocation that was running at a time; of several, the one that began first, which makes ours longer.
    ``proof``: something that it has to have logged."""
    # The log's times are in whole milliseconds, cut off.
    running = [one for one in invocations if one.begun - 0.002 <= at <= one.ended + 0.002]
    proven = [one for one in running if any(re.search(proof, line) for line in one.log)]
    if not proven:
        raise SystemExit(f"no invocation at {at} logged {proof!r}; {len(running)} were running")
    return proven[0]


def ways(
    sent: list[Sent], landed: list[Landed], committed: list[Commit], runs: dict[str, list[Invocation]]
) -> list[Row]:
    """Each row's way. Ends the run if a row has none: what was lost is not fast."""
    visible = {(commit.dataset, number): commit for commit in committed for number in commit.numbers}
    begun = {commit: around(runs["compactor"], commit.at, f'"dataset":"{commit.dataset}".*rows_inserted').begun
             for commit in committed}  # fmt: skip
    cleaned = {landing: around(runs["cleaner"], landing.at).begun for landing in landed}
    rows = []
    for request in sent:
        landing = next(
            one for one in landed if one.dataset == request.dataset and one.first <= request.sequence <= one.last
        )
        for number in request.numbers:
            commit = visible.pop((request.dataset, number))
            rows.append(
                Row(request.acknowledged, cleaned[landing], landing.at, min(begun[commit], commit.at), commit.at)
            )
    assert not visible, f"{len(visible)} rows that nobody sent"
    return rows


def floor(stack: Deployed) -> float:
    """Seconds of a compactor that finds nothing: a listing, and what the stand-in adds to each call."""
    since = time.time()
    for _ in range(_FLOOR_CALLS):
        stack.invoke("compactor", wake("user"))
    time.sleep(1)
    calls = stack.invocations("compactor", since, time.time())
    return percentile([call.ended - call.begun for call in calls], 0.5)


def run(seconds: int) -> None:
    """Prints the pieces, without windows and with those of the template, and what AWS would add."""
    template = (ROOT / "template.yaml").read_text()
    defaults = tuple(_default(template, f"{name}WindowSeconds") for name in ("Cleaner", "Compactor"))
    others = machine.others_share()
    figures = {}
    for name, given in (("no windows", None), ("windows of {} and {} s".format(*defaults), defaults)):
        print(f"## freshness: 2xx to visible, {RATE:,} records/s for {seconds} s, {BATCH} a request, {name}\n")
        figures[name] = measured(seconds, given)
        tell(figures[name])
    print(f"  others took {others:.2f} of a processor before it began\n")
    budget(*defaults)
    settings = {
        "rate": RATE,
        "batch": BATCH,
        "seconds": seconds,
        "warm_up_s": WARM_UP_S,
        "run_out_s": RUN_OUT_S,
        "others_share": others,
    }
    report.keep("freshness", settings, figures)


def measured(seconds: int, given: tuple[int, int] | None) -> dict[str, Any]:
    """One run on a stack of its own, with batching windows or with the stand-in's event sources, which have none."""
    sent = requests((WARM_UP_S + seconds + RUN_OUT_S) * RATE // BATCH)
    with deployed() as stack:
        since = time.time()
        with windows(stack, *given) if given else nullcontext():
            send(stack.described["ingest_url"], sent)
            failed = [request.failure for request in sent if request.failure]
            assert not failed, failed[:3]
            drain(stack, sent)
        # The log of an invocation is there when it is over.
        time.sleep(1)
        until = time.time()
        nothing = floor(stack)
        landed, committed = landings(stack), commits(stack)
        runs = {function: stack.invocations(function, since, until) for function in ("cleaner", "compactor")}
    begun = sent[0].due + WARM_UP_S
    rows = [row for row in ways(sent, landed, committed, runs) if begun <= row.acknowledged < begun + seconds]
    pieces = {
        name: [part(row) for row in rows]
        for name, part in (
            (WAITS[0], lambda row: row.waits[0]), (WORK_OF[0], lambda row: row.work[0]),
            (WAITS[1], lambda row: row.waits[1]), (WORK_OF[1], lambda row: row.work[1]),
            ("2xx to visible", lambda row: row.whole), ("of it ours", lambda row: sum(row.work)),
        )
    }  # fmt: skip
    took = max(request.acknowledged for request in sent) - sent[0].due
    return {
        "rows": len(rows), "records_per_s": round(len(sent) * BATCH / took), "call_of_nothing_s": nothing,
        "commits": len(committed), "landing_objects": len(landed),
        "answer_s": _spread([request.acknowledged - request.due for request in sent]),
        "pieces_s": {name: _spread(values) for name, values in pieces.items()},
        "invocations_s": {name: _spread([one.ended - one.begun for one in called]) for name, called in runs.items()},
        "invocations": {name: len(called) for name, called in runs.items()},
        # Seconds since the first was counted: acknowledged, cleaner invoked, landed, compactor invoked, visible.
        "every_250th_row": [report.in_line((at - begun for at in astuple(row)), 3) for row in rows[::250]],
    }  # fmt: skip


def _spread(values: list[float]) -> dict[str, float]:
    return {name: round(percentile(values, part), 4) for name, part in (("p50", 0.5), ("p95", 0.95), ("most", 1))}


def tell(figures: dict[str, Any]) -> None:
    """Prints what was measured."""
    rows = [[name, *(f"{value:.2f}" for value in spread.values())] for name, spread in figures["pieces_s"].items()]
    aims = [f"p95 < {OURS_MOST_S}" if name == "of it ours" else "" for name in figures["pieces_s"]]
    rows = [[*row, aim] for row, aim in zip(rows, aims)]
    print(report.table(["seconds", "p50", "p95", "most", "aim"], rows))
    print(
        f"\n  {figures['rows']:,} rows at {figures['records_per_s']:,} a second, acknowledged "
        f"{_ms(figures['answer_s'])} ms after they were due (p50, p95); {figures['commits']} commits"
    )
    for name, spread in figures["invocations_s"].items():
        print(f"  {figures['invocations'][name]} invocations of the {name} of {_ms(spread)} ms (p50, p95)")
    nothing = figures["call_of_nothing_s"] * 1e3
    print(f"  a compactor that finds nothing takes {nothing:.0f} ms here: a listing, the rest the stand-in's\n")


def _ms(spread: dict[str, float]) -> str:
    return f"{spread['p50'] * 1e3:.0f}, {spread['p95'] * 1e3:.0f}"


def budget(cleaner: int, compactor: int) -> None:
    """Prints what AWS documents of each wait, by the template's default windows."""
    events = "Lambda Developer Guide, How Lambda processes records from stream and queue-based event sources"
    rows = [
        ["Kinesis to its reader", "0.2 s on average", "-",
         "Kinesis Developer Guide, Reading Data from Amazon Kinesis Data Streams"],
        ["event source reads a shard", "once a second", "-",
         "Lambda Developer Guide, How Lambda processes records from Amazon Kinesis Data Streams"],
        ["batching window of the cleaner", f"at most {cleaner} s, less when 6 MB are there", "0 s", events],
        ["S3 tells the queue", "typically seconds, a minute or longer at times", "-",
         "S3 User Guide, Amazon S3 Event Notifications"],
        ["batching window of the compactor", f"at most {compactor} s", "1 s", events],
    ]  # fmt: skip
    print(report.table(["on AWS", "by the template's defaults", "at the least", "documented in"], rows))
    print()


def _default(template: str, parameter: str) -> int:
    return int(re.search(rf"^  {parameter}:\n(?:    .*\n)*?    Default: (\d+)$", template, re.MULTILINE).group(1))
