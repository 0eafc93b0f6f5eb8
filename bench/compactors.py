"""Section compactors: several compactors at once on one table, with their own landing objects and on a shared backlog.

With their own objects, the section shows how many commits a second the log allows, and what a conflict costs. On a
shared backlog all list the same objects, as compactors that are triggered together do.
"""

import statistics
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import backlog, delta_log, handlers, lakes, machine, report
from bench.backlog import DATASET
from bench.cold_start import MEMORY, settings
from bench.lakes import Lake
from bench.places import WORK, binary
from bench.runtime import Function
from bench.trigger_queue import TriggerQueue

AT_ONCE = (1, 2, 4, 8)
# Own objects: landing objects of a commit, and rows of an object.
OBJECTS_A_COMMIT, ROWS_AN_OBJECT = 5, 200
COMMITS = {"folder": 200, "bucket": 48}
# Shared backlog: its landing objects, and rows of an object.
BACKLOG, ROWS_OF_BACKLOG = 20_000, 10
# The log line of a conflict (shared/lake).
CONFLICT = "version taken by another writer"


def work_on_own_objects(lake: Lake, compactors: list[Function], kind: str) -> Callable[[int], None]:
    """The work of one compactor: put the next objects into its own landing area, commit them, repeat."""
    source = backlog.build_backlog(OBJECTS_A_COMMIT * (COMMITS[kind] + len(AT_ONCE) * 2), ROWS_AN_OBJECT)
    files = sorted(file for file in (source / "landing").rglob("*") if file.is_file())
    batches = [files[at : at + OBJECTS_A_COMMIT] for at in range(0, len(files), OBJECTS_A_COMMIT)]

    def commit(number: int) -> None:
        for file in batches.pop():
            lake.put_landing_object(f"lake-{number}", source, file)
        call_or_exit(compactors[number], handlers.trigger_event(DATASET))

    # Warm up every compactor.
    for number in range(len(compactors)):
        commit(number)
    del batches[COMMITS[kind] :]

    def work(number: int) -> None:
        while True:
            try:
                commit(number)
            except IndexError:
                return

    return work


def work_on_shared_backlog(lake: Lake, compactors: list[Function], queue: TriggerQueue) -> Callable[[int], None]:
    """The work of one compactor: drain the shared landing area."""

    def work(number: int) -> None:
        call_or_exit(compactors[number], handlers.trigger_event(DATASET))
        while event := queue.receive_all():
            call_or_exit(compactors[number], event)

    return work


def call_or_exit(compactor: Function, event: dict[str, Any]) -> None:
    """Invokes a compactor and exits if it reports failures."""
    answer = compactor.call(event).answer
    if answer != {"batchItemFailures": []}:
        raise SystemExit(f"{answer}\n{compactor.log_tail()}")


def measure_compactors(kind: str, count: int, *, is_shared: bool) -> dict[str, Any]:
    """Measures `count` compactors at once."""
    source = backlog.build_backlog(BACKLOG, ROWS_OF_BACKLOG) if is_shared else None
    with ExitStack() as stack:
        lake = stack.enter_context(lakes.open_lake(kind, WORK / "compactors", source))
        queue = stack.enter_context(TriggerQueue())
        compactors = []
        for number in range(count):
            place = lake.settings() if is_shared else lake.settings(lake.add_landing_area(f"lake-{number}"))
            program = Function(binary("compactor"), settings("") | queue.settings | place, MEMORY["compactor"])
            compactors.append(stack.enter_context(program))
        work = (
            work_on_shared_backlog(lake, compactors, queue)
            if is_shared
            else work_on_own_objects(lake, compactors, kind)
        )
        table = lake.folder / "tables" / DATASET
        before = Snapshot.read(lake, table, compactors)
        run_in_parallel(work, count)
        snapshot = Snapshot.read(lake, table, compactors).since(before)
    rows = BACKLOG * ROWS_OF_BACKLOG if is_shared else COMMITS[kind] * OBJECTS_A_COMMIT * ROWS_AN_OBJECT
    if snapshot["rows"] != rows:
        raise SystemExit(f"expected {rows} inserted rows: {snapshot}")
    return snapshot


def run_in_parallel(work: Callable[[int], None], count: int) -> None:
    """Runs `work` for each number in a thread and waits for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Snapshot(dict[str, float]):
    """Counters at one time."""

    @classmethod
    def read(cls, lake: Lake, table: Path, compactors: list[Function]) -> "Snapshot":
        """Reads all counters."""
        at, busy = time.monotonic(), machine.busy_seconds()
        commits, unnamed = delta_log.read_commits(table), delta_log.list_unreferenced(table)
        logs = [compactor.log() for compactor in compactors]
        cpu_s = sum(compactor.cpu_s for compactor in compactors)
        return cls(
            seconds=at,
            commits=sum(1 for commit in commits if commit.inserted),
            merges=sum(1 for commit in commits if not commit.inserted),
            rows=sum(commit.inserted for commit in commits),
            lost=sum(log.count(CONFLICT) for log in logs),
            unnamed_inserts=sum(1 for file in unnamed if not file.is_merge),
            unnamed_merges=sum(1 for file in unnamed if file.is_merge),
            unnamed_mb=sum(file.bytes for file in unnamed) / 1e6,
            named_mb=sum(commit.bytes for commit in commits if commit.inserted) / 1e6,
            cpu_s=cpu_s,
            others_cpu_s=busy - cpu_s - lake.server_cpu_s - time.process_time(),
            failed=sum(log.count('"level":"ERROR"') for log in logs),
        )

    def since(self, before: "Snapshot") -> dict[str, float]:
        """The difference to an earlier snapshot."""
        return {name: round(self[name] - before[name], 3) for name in self}


def run(runs: int, kinds: list[str]) -> None:
    """Measures each kind of work and of lake, and prints a table for each."""
    figures = {}
    for kind in kinds:
        for is_shared in (False, True):
            what = "the same backlog" if is_shared else "work of their own"
            print(f"## compactors at once on one table in a {kind}, {what}\n")
            outcomes: dict[int, list[dict[str, float]]] = {count: [] for count in AT_ONCE}
            for _ in range(runs):
                for count in AT_ONCE:
                    outcomes[count].append(measure_compactors(kind, count, is_shared=is_shared))
            print(report.format_table(HEAD, [format_row(count, outcomes[count]) for count in AT_ONCE]) + "\n")
            figures[f"{kind}, {what}"] = outcomes
    report.save("compactors", {"runs": runs, "commits": COMMITS, "backlog": BACKLOG}, figures)


HEAD = ["compactors", "commits/s", "rows/s", "commits", "conflicts", "merges", "wasted files", "of them merges",
        "wasted MB", "MB inserted", "CPU s", "CPU ms a commit", "others' CPU s"]  # fmt: skip


def format_row(count: int, outcomes: list[dict[str, float]]) -> list[str]:
    """The table row for `count` compactors: medians of the outcomes."""
    of = {name: statistics.median(outcome[name] for outcome in outcomes) for name in outcomes[0]}
    return [
        str(count), f"{of['commits'] / of['seconds']:.2f}", f"{of['rows'] / of['seconds']:,.0f}",
        f"{of['commits']:.0f}", f"{of['lost']:.0f}", f"{of['merges']:.0f}",
        f"{of['unnamed_inserts'] + of['unnamed_merges']:.0f}", f"{of['unnamed_merges']:.0f}",
        f"{of['unnamed_mb']:.1f}", f"{of['named_mb']:.1f}", f"{of['cpu_s']:.1f}",
        f"{of['cpu_s'] / of['commits'] * 1e3:.0f}", f"{of['others_cpu_s']:.1f}",
    ]  # fmt: skip
