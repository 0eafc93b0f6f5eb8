"""Section drain: one compactor inserts a backlog of landing objects into one table."""

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

# Few rows an object, because the number of objects decides the cost.
ROWS_AN_OBJECT = 10
# Timeout of the compactor in template.yaml. Before it ends, the compactor sends itself a trigger.
TIMEOUT_S = 120


def measure_drain(kind: str, objects: int) -> dict[str, Any]:
    """Measures draining a backlog of `objects` landing objects."""
    source = backlog.build_backlog(objects, ROWS_AN_OBJECT)
    with lakes.open_lake(kind, WORK / "drained", source) as lake, TriggerQueue() as queue:
        ours = settings("") | queue.settings | lake.settings()
        with Function(binary("compactor"), ours, MEMORY["compactor"], time_limit_s=TIMEOUT_S) as compact:
            begun, busy, mine = time.monotonic(), machine.busy_seconds(), time.process_time()
            calls = []
            event = handlers.trigger_event(DATASET)
            while event:
                calls.append(compact.call(event))
                assert calls[-1].answer == {"batchItemFailures": []}, compact.log_tail()
                event = queue.receive_all()
            seconds = time.monotonic() - begun
            cpu_s = sum(call.cpu_ms for call in calls) / 1e3
            others = machine.busy_seconds() - busy - cpu_s - lake.server_cpu_s - (time.process_time() - mine)
            rss = compact.peak_rss_mb
        requests = lake.bucket.requests() if lake.bucket else {}
        commits = [one for one in delta_log.read_commits(lake.folder / "tables" / DATASET) if one.inserted]
        left = sum(1 for file in (lake.folder / "landing").rglob("*") if file.is_file())
    rows = sum(commit.inserted for commit in commits)
    if (rows, left) != (objects * ROWS_AN_OBJECT, 0):
        raise SystemExit(f"expected {objects * ROWS_AN_OBJECT} rows and no objects left: {rows} rows, {left} objects")
    return {
        "objects": objects, "seconds": round(seconds, 2), "cpu_s": round(cpu_s, 2), "calls": len(calls),
        "commits": len(commits), "rss_mb": round(rss), "requests": requests,
        "others_cpu_s": round(max(0.0, others), 2), "log_kb": round(sum(call.log_bytes for call in calls) / 1e3, 1),
        "commit_ms": intervals([commit.at_ms for commit in commits]),
    }  # fmt: skip


def intervals(times: list[int]) -> list[int]:
    """Differences of consecutive times."""
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def median_tenth(commit_ms: list[int], *, last: bool = False) -> float:
    """Median time of a commit in the first or the last tenth: shows whether commits get slower."""
    count = max(1, len(commit_ms) // 10)
    return statistics.median((commit_ms[-count:] if last else commit_ms[:count]) or [0])


def run(objects: int, in_bucket: int, kinds: list[str]) -> None:
    """Drains a tenth of the backlog and all of it from a folder, and another from a bucket, and prints the tables."""
    print(f"## drain: landing objects of {ROWS_AN_OBJECT} rows into one table, by one compactor\n")
    sizes = [("folder", objects // 10), ("folder", objects), ("bucket", in_bucket)]
    figures = [{"kind": kind} | measure_drain(kind, count) for kind, count in sizes if kind in kinds]
    rows = [
        [f"{of['objects']:,} in a {of['kind']}", f"{of['seconds']:.1f}", f"{of['cpu_s']:.1f}",
         f"{of['objects'] / of['seconds']:,.0f}", f"{of['objects'] * ROWS_AN_OBJECT / of['seconds']:,.0f}",
         f"{of['calls']}", f"{of['commits']}", f"{median_tenth(of['commit_ms']):.0f}",
         f"{median_tenth(of['commit_ms'], last=True):.0f}", f"{of['rss_mb']}", f"{of['others_cpu_s']:.1f}"]
        for of in figures
    ]  # fmt: skip
    head = ["", "seconds", "CPU s", "objects/s", "rows/s", "calls", "commits", "ms a commit, first tenth", "last tenth",
            "RSS MB", "others' CPU s"]  # fmt: skip
    print(report.format_table(head, rows))
    for of in figures:
        if of["requests"]:
            print(
                "\n"
                + report.format_table(
                    [f"requests of {of['commits']} commits", "total", "a commit", "ms each"], request_rows(of)
                )
            )
    report.save("drain", {"rows_an_object": ROWS_AN_OBJECT, "timeout_s": TIMEOUT_S}, figures)


def request_rows(of: dict[str, Any]) -> list[list[str]]:
    """Table rows of the requests of a drain, by kind and part of the lake."""
    return [
        [kind, f"{count:,}", f"{count / of['commits']:.1f}", f"{seconds / count * 1e3:.0f}"]
        for kind, (count, seconds) in sorted(of["requests"].items())
    ]
