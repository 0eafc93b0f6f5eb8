"""Runs commands as processes and measures wall time, CPU time and peak memory as the kernel accounts them."""

import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import machine

# Exit code of a peer that cannot run on this machine, for example without Java. It is skipped.
CANNOT_RUN = 77


@dataclass
class Run:
    """One run of one command."""

    wall_s: float
    cpu_s: float
    rss_mb: float
    # CPU seconds of all other processes during the run. About 0 on an idle machine.
    others_cpu_s: float
    stdout: str


@dataclass
class Contender:
    """A command to measure. `prepare` runs before each run and is not measured."""

    name: str
    command: Sequence[str | Path]
    prepare: Callable[[], None] = lambda: None
    environment: dict[str, str] = field(default_factory=dict)


def run_once(contender: Contender) -> Run | None:
    """Runs a command once. Returns None if it cannot run on this machine, and exits if it fails."""
    contender.prepare()
    begun, busy = time.monotonic(), machine.busy_seconds()
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(
            [str(part) for part in contender.command],
            stdout=stdout,
            stderr=stderr,
            env=os.environ | contender.environment,
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begun
        out, err = (file.seek(0) or file.read() for file in (stdout, stderr))
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode == CANNOT_RUN:
        print(f"{contender.name} cannot run here: {err.decode().strip()}", file=sys.stderr)
        return None
    if child.returncode != 0:
        sys.exit(f"{contender.name} exited with {child.returncode}:\n{err.decode()[-4000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    others = max(0.0, machine.busy_seconds() - busy - cpu)
    return Run(round(wall, 3), round(cpu, 3), round(usage.ru_maxrss / 1024, 1), round(others, 2), out.decode())


def run_in_turns(contenders: Sequence[Contender], runs: int) -> dict[str, list[Run]]:
    """Runs the contenders in turn (A B C A B C), so that changes of the machine's speed affect all of them. The first
    round is a warm-up and not counted."""
    results: dict[str, list[Run]] = {}
    runnable = list(contenders)
    for number in range(runs + 1):
        for contender in list(runnable):
            run = run_once(contender)
            if run is None:
                runnable.remove(contender)
                continue
            counted = "warm-up" if number == 0 else f"run {number}"
            print(
                f"  {contender.name:<24} {counted:<8} {run.wall_s:8.2f} s  {run.cpu_s:8.2f} CPU s  {run.rss_mb:7.0f} MB"
                f"  (others {run.others_cpu_s:.1f} CPU s)",
                file=sys.stderr,
            )
            if number > 0:
                results.setdefault(contender.name, []).append(run)
    return results


def median(runs: Sequence[Run], figure: str) -> float:
    """The median of a field of `Run`."""
    return statistics.median(getattr(run, figure) for run in runs)


def ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: str) -> float:
    """The median over the rounds of ours / theirs, for a field of `Run`."""
    return statistics.median(
        getattr(a, figure) / max(getattr(b, figure), 0.001) for a, b in zip(ours, theirs, strict=False)
    )


def percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile, `part` from 0 to 1. It is always one of the values."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def runs_as_json(results: dict[str, list[Run]]) -> dict[str, list[dict[str, object]]]:
    """The raw runs for the JSON record, without their output."""
    return {
        name: [{k: v for k, v in asdict(run).items() if k != "stdout"} for run in runs]
        for name, runs in results.items()
    }
