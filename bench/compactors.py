"""Several compactors at once on one table: with work of their own, and on the same backlog.

With work of its own, each finds landing objects that no other sees: how many commits a second the one log takes, and
what a lost race costs. On the same backlog they do as those do that a queue wakes together: all list the same objects.
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
# Work of their own: a commit takes so many landing objects of so many rows.
OBJECTS_A_COMMIT, ROWS_AN_OBJECT = 5, 200
COMMITS = {"folder": 200, "bucket": 48}
# The same backlog for all: commits of a thousand objects.
BACKLOG, ROWS_OF_BACKLOG = 20_000, 10
LOST = "version taken by another writer"


def own_work(lake: Lake, compactors: list[Function], kind: str) -> Callable[[int], None]:
    """What one compactor does: it takes the next few objects into its landing area, commits them, and so on."""
    source = backlog.landed(OBJECTS_A_COMMIT * (COMMITS[kind] + len(AT_ONCE) * 2), ROWS_AN_OBJECT)
    files = sorted(file for file in (source / "landing").rglob("*") if file.is_file())
    batches = [files[at : at + OBJECTS_A_COMMIT] for at in range(0, len(files), OBJECTS_A_COMMIT)]

    def commit(number: int) -> None:
        for file in batches.pop():
            lake.land(f"lake-{number}", source, file)
        call(compactors[number], handlers.wake(DATASET))

    # Warm, as functions are that have work.
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


def same_work(lake: Lake, compactors: list[Function], queue: TriggerQueue) -> Callable[[int], None]:
    """What one compactor does: it drains the landing area, beside the others."""

    def work(number: int) -> None:
        call(compactors[number], handlers.wake(DATASET))
        while event := queue.take():
            call(compactors[number], event)

    return work


def call(compactor: Function, event: dict[str, Any]) -> None:
    """A call that must succeed."""
    answer = compactor.call(event).answer
    if answer != {"batchItemFailures": []}:
        raise SystemExit(f"{answer}\n{compactor.log_tail()}")


def measured(kind: str, count: int, *, is_shared: bool) -> dict[str, Any]:
    """The figures of so many compactors at once."""
    source = backlog.landed(BACKLOG, ROWS_OF_BACKLOG) if is_shared else None
    with ExitStack() as stack:
        lake = stack.enter_context(lakes.opened(kind, WORK / "compactors", source))
        queue = stack.enter_context(TriggerQueue())
        compactors = []
        for number in range(count):
            place = lake.settings() if is_shared else lake.settings(lake.share(f"lake-{number}"))
            program = Function(binary("compactor"), settings("") | queue.settings | place, MEMORY["compactor"])
            compactors.append(stack.enter_context(program))
        work = same_work(lake, compactors, queue) if is_shared else own_work(lake, compactors, kind)
        table = lake.folder / "tables" / DATASET
        before = Seen.of(lake, table, compactors)
        all_at_once(work, count)
        seen = Seen.of(lake, table, compactors).since(before)
    rows = BACKLOG * ROWS_OF_BACKLOG if is_shared else COMMITS[kind] * OBJECTS_A_COMMIT * ROWS_AN_OBJECT
    if seen["rows"] != rows:
        raise SystemExit(f"{rows} rows were to be inserted: {seen}")
    return seen


def all_at_once(work: Callable[[int], None], count: int) -> None:
    """Has all work, and waits for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Seen(dict[str, float]):
    """What had been done at a moment."""

    @classmethod
    def of(cls, lake: Lake, table: Path, compactors: list[Function]) -> "Seen":
        """All of it, now."""
        at, busy = time.monotonic(), machine.busy_seconds()
        commits, unnamed = delta_log.commits(table), delta_log.unnamed(table)
        logs = [compactor.log() for compactor in compactors]
        cpu_s = sum(compactor.cpu_s for compactor in compactors)
        return cls(
            seconds=at,
            commits=sum(1 for commit in commits if commit.inserted),
            merges=sum(1 for commit in commits if not commit.inserted),
            rows=sum(commit.inserted for commit in commits),
            lost=sum(log.count(LOST) for log in logs),
            unnamed_inserts=sum(1 for file in unnamed if not file.is_merge),
            unnamed_merges=sum(1 for file in unnamed if file.is_merge),
            unnamed_mb=sum(file.bytes for file in unnamed) / 1e6,
            named_mb=sum(commit.bytes for commit in commits if commit.inserted) / 1e6,
            cpu_s=cpu_s,
            others_cpu_s=busy - cpu_s - lake.server_cpu_s - time.process_time(),
            failed=sum(log.count('"level":"ERROR"') for log in logs),
        )

    def since(self, before: "Seen") -> dict[str, float]:
        """What was done between."""
        return {name: round(self[name] - before[name], 3) for name in self}


def run(runs: int, kinds: list[str]) -> None:
    """Prints a table for each kind of work and of lake."""
    figures = {}
    for kind in kinds:
        for is_shared in (False, True):
            what = "the same backlog" if is_shared else "work of their own"
            print(f"## compactors at once on one table in a {kind}, {what}\n")
            outcomes: dict[int, list[dict[str, float]]] = {count: [] for count in AT_ONCE}
            for _ in range(runs):
                for count in AT_ONCE:
                    outcomes[count].append(measured(kind, count, is_shared=is_shared))
            print(report.table(HEAD, [row(count, outcomes[count]) for count in AT_ONCE]) + "\n")
            figures[f"{kind}, {what}"] = outcomes
    report.keep("compactors", {"runs": runs, "commits": COMMITS, "backlog": BACKLOG}, figures)


HEAD = ["at once", "commits/s", "rows/s", "commits", "lost versions", "merges", "files for nothing", "of them merges",
        "MB for nothing", "MB inserted", "CPU s", "CPU ms a commit", "others' CPU s"]  # fmt: skip


def row(count: int, outcomes: list[dict[str, float]]) -> list[str]:
    """The medians of a number of compactors."""
    of = {name: statistics.median(outcome[name] for outcome in outcomes) for name in outcomes[0]}
    return [
        str(count), f"{of['commits'] / of['seconds']:.2f}", f"{of['rows'] / of['seconds']:,.0f}",
        f"{of['commits']:.0f}", f"{of['lost']:.0f}", f"{of['merges']:.0f}",
        f"{of['unnamed_inserts'] + of['unnamed_merges']:.0f}", f"{of['unnamed_merges']:.0f}",
        f"{of['unnamed_mb']:.1f}", f"{of['named_mb']:.1f}", f"{of['cpu_s']:.1f}",
        f"{of['cpu_s'] / of['commits'] * 1e3:.0f}", f"{of['others_cpu_s']:.1f}",
    ]  # fmt: skip
