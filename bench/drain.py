"""A backlog of landing objects, drained into one table by one compactor, and by several that race each other."""

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from bench import handlers, inputs, report
from bench.cold_start import MEMORY, settings
from bench.load import fresh
from bench.places import WORK, binary
from bench.runtime import Function

# Few rows an object: many objects are the hard case.
ROWS_AN_OBJECT = 4
# Landing objects that one call of the cleaner makes: it is given as many shards.
OBJECTS_A_CALL = 200
DATASET = "geo"


def backlog(objects: int) -> Path:
    """A lake in which so many landing objects of one dataset wait, with distinct rows; made once."""
    folder = WORK / f"backlog-{objects}"
    done = folder.with_suffix(".done")
    if not done.exists():
        fresh(folder)
        source = inputs.generated(objects * ROWS_AN_OBJECT, name="backlog-rows")
        rows = list(dict.fromkeys(handlers.lines(source, DATASET)))
        with Function(binary("cleaner"), settings(str(folder)), MEMORY["cleaner"]) as clean:
            for first in range(0, objects, OBJECTS_A_CALL):
                event: dict[str, Any] = {"Records": []}
                for number in range(first, min(first + OBJECTS_A_CALL, objects)):
                    data = b"\n".join(rows[number * ROWS_AN_OBJECT : (number + 1) * ROWS_AN_OBJECT])
                    event["Records"] += handlers.deliveries([(DATASET, data)], number)["Records"]
                call = clean.call(event)
                assert call.answer == {"batchItemFailures": []}, clean.log_tail()
        # What was sent is not read here, and would double what is copied.
        shutil.rmtree(folder / "raw")
        done.touch()
    return folder


def waiting(lake: Path) -> bool:
    """Whether a landing object is left."""
    return any(file.is_file() for file in (lake / "landing").rglob("*"))


def drained(objects: int, compactors: int) -> dict[str, Any]:
    """Has so many compactors at once take the backlog, as the queue would have them: until nothing is left."""
    lake = WORK / "drained"
    shutil.rmtree(lake, ignore_errors=True)
    # Landing objects are never changed, only removed.
    shutil.copytree(backlog(objects), lake, copy_function=lambda source, to: Path(to).hardlink_to(source))
    # The queue is not there: a compactor that cannot send itself a message fails the one it has, which comes again.
    programs = [Function(binary("compactor"), settings(str(lake)), MEMORY["compactor"]) for _ in range(compactors)]
    calls: list[float] = []

    def work(program: Function) -> None:
        while waiting(lake):
            calls.append(program.call(handlers.wake(DATASET)).cpu_ms)

    begun = time.monotonic()
    threads = [threading.Thread(target=work, args=(program,)) for program in programs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    logs = [program.log() for program in programs]
    rss = max(program.peak_rss_mb for program in programs)
    for program in programs:
        program.__exit__()
    return {
        "seconds": round(seconds, 2), "cpu_s": round(sum(calls) / 1e3, 2), "calls": len(calls), "rss_mb": round(rss),
        "lost_versions": sum(log.count("version taken by another writer") for log in logs), **table(lake),
    }  # fmt: skip


def table(lake: Path) -> dict[str, Any]:
    """What the table's log says, and what lies beside it that no commit names."""
    folder = lake / "tables" / DATASET
    inserted, commits, named = 0, 0, set()
    for entry in sorted((folder / "_delta_log").glob("*.json")):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        note = next(action["commitInfo"]["pinlake"] for action in actions if "commitInfo" in action)
        inserted += note["inserted"]
        commits += note["inserted"] > 0
        named |= {action["add"]["path"] for action in actions if "add" in action}
    files = list(folder.glob("*.parquet"))
    wasted = [file for file in files if file.name not in named]
    return {
        "rows": inserted, "commits": commits, "files_written": len(files), "files_wasted": len(wasted),
        "mb_wasted": round(sum(file.stat().st_size for file in wasted) / 1e6, 2),
    }  # fmt: skip


def run(objects: int, runs: int) -> None:
    """Prints the table for one compactor and for several."""
    print(f"## drain: {objects:,} landing objects of {ROWS_AN_OBJECT} rows, one table, by compactors at once\n")
    rows, figures = [], {}
    for compactors in (1, 2, 4, 8):
        outcomes = [drained(objects, compactors) for _ in range(runs)]
        middle = sorted(outcomes, key=lambda outcome: outcome["seconds"])[runs // 2]
        assert all(outcome["rows"] == middle["rows"] for outcome in outcomes), outcomes
        figures[str(compactors)] = outcomes
        rows.append(
            [str(compactors), f"{middle['seconds']:.1f}", f"{middle['cpu_s']:.1f}",
             f"{objects / middle['seconds']:,.0f}", f"{middle['rows'] / middle['seconds']:,.0f}",
             f"{middle['commits'] / middle['seconds']:.2f}", str(middle["lost_versions"]),
             f"{middle['files_wasted']} of {middle['files_written']}", str(middle["rss_mb"])]
        )  # fmt: skip
    head = [
        "compactors",
        "seconds",
        "CPU s",
        "objects/s",
        "rows/s",
        "commits/s",
        "lost races",
        "files wasted",
        "RSS MB",
    ]
    print(report.table(head, rows))
    report.keep("drain", {"objects": objects, "rows_an_object": ROWS_AN_OBJECT, "runs": runs}, figures)
