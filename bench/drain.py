"""A backlog of landing objects, drained into one table by one compactor, which wakes itself until nothing is left."""

import itertools
import statistics
import time
from typing import Any

from bench import backlog, delta_log, handlers, lakes, machine, report
from bench.backlog import DATASET
from bench.cold_start import MEMORY, settings
from bench.places import WORK, binary
from bench.runtime import Function
from bench.trigger_queue import TriggerQueue

# Few rows an object: many objects are the hard case.
ROWS_AN_OBJECT = 10
# Timeout of the compactor in template.yaml: when it is up, the compactor wakes itself.
TIMEOUT_S = 120


def drained(kind: str, objects: int) -> dict[str, Any]:
    """The figures of a backlog."""
    source = backlog.landed(objects, ROWS_AN_OBJECT)
    with lakes.opened(kind, WORK / "drained", source) as lake, TriggerQueue() as queue:
        ours = settings("") | queue.settings | lake.settings()
        with Function(binary("compactor"), ours, MEMORY["compactor"], time_limit_s=TIMEOUT_S) as compact:
            begun, busy, mine = time.monotonic(), machine.busy_seconds(), time.process_time()
            calls = []
            event = handlers.wake(DATASET)
            while event:
                calls.append(compact.call(event))
                assert calls[-1].answer == {"batchItemFailures": []}, compact.log_tail()
                event = queue.take()
            seconds = time.monotonic() - begun
            cpu_s = sum(call.cpu_ms for call in calls) / 1e3
            others = machine.busy_seconds() - busy - cpu_s - lake.server_cpu_s - (time.process_time() - mine)
            rss = compact.peak_rss_mb
        requests = lake.bucket.requests() if lake.bucket else {}
        commits = [one for one in delta_log.commits(lake.folder / "tables" / DATASET) if one.inserted]
        left = sum(1 for file in (lake.folder / "landing").rglob("*") if file.is_file())
    rows = sum(commit.inserted for commit in commits)
    if (rows, left) != (objects * ROWS_AN_OBJECT, 0):
        raise SystemExit(f"{objects * ROWS_AN_OBJECT} rows were to be inserted, and nothing left: {rows}, {left}")
    return {
        "objects": objects, "seconds": round(seconds, 2), "cpu_s": round(cpu_s, 2), "calls": len(calls),
        "commits": len(commits), "rss_mb": round(rss), "requests": requests,
        "others_cpu_s": round(max(0.0, others), 2), "log_kb": round(sum(call.log_bytes for call in calls) / 1e3, 1),
        "commit_ms": gaps([commit.at_ms for commit in commits]),
    }  # fmt: skip


def gaps(moments: list[int]) -> list[int]:
    """From each moment to the next one."""
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


def tenth(commit_ms: list[int], *, last: bool = False) -> float:
    """What a commit took in the first or in the last tenth: whether the table, or the backlog, makes it slower."""
    count = max(1, len(commit_ms) // 10)
    return statistics.median((commit_ms[-count:] if last else commit_ms[:count]) or [0])


def run(objects: int, in_bucket: int, kinds: list[str]) -> None:
    """Prints the tables of a tenth of the backlog and of all of it, in a folder, and of another in a bucket."""
    print(f"## drain: landing objects of {ROWS_AN_OBJECT} rows into one table, by one compactor\n")
    sizes = [("folder", objects // 10), ("folder", objects), ("bucket", in_bucket)]
    figures = [{"kind": kind} | drained(kind, count) for kind, count in sizes if kind in kinds]
    rows = [
        [f"{of['objects']:,} in a {of['kind']}", f"{of['seconds']:.1f}", f"{of['cpu_s']:.1f}",
         f"{of['objects'] / of['seconds']:,.0f}", f"{of['objects'] * ROWS_AN_OBJECT / of['seconds']:,.0f}",
         f"{of['calls']}", f"{of['commits']}", f"{tenth(of['commit_ms']):.0f}",
         f"{tenth(of['commit_ms'], last=True):.0f}", f"{of['rss_mb']}", f"{of['others_cpu_s']:.1f}"]
        for of in figures
    ]  # fmt: skip
    head = ["", "seconds", "CPU s", "objects/s", "rows/s", "calls", "commits", "ms a commit, first tenth", "last tenth",
            "RSS MB", "others' CPU s"]  # fmt: skip
    print(report.table(head, rows))
    for of in figures:
        if of["requests"]:
            print(
                "\n"
                + report.table([f"requests of {of['commits']} commits", "in all", "a commit", "ms each"], asked(of))
            )
    report.keep("drain", {"rows_an_object": ROWS_AN_OBJECT, "timeout_s": TIMEOUT_S}, figures)


def asked(of: dict[str, Any]) -> list[list[str]]:
    """The requests of a drain by their kind and the part of the lake."""
    return [
        [kind, f"{count:,}", f"{count / of['commits']:.1f}", f"{seconds / count * 1e3:.0f}"]
        for kind, (count, seconds) in sorted(of["requests"].items())
    ]
