"""Loading: NDJSON -> clean -> distinct -> tables, three files, beside peers that write Parquet."""

import json
import shutil
import sys
from pathlib import Path

from bench import inputs, measure, report
from bench.measure import Contender
from bench.places import PEERS, WORK, binary

PEER_NAMES = ("duckdb", "polars", "spark")


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def output(name: str, rows: int) -> Path:
    """Where a contender's tables of so many posts lie."""
    return WORK / "out" / f"{name}-{rows}"


def contenders(rows: int, peers: list[str]) -> list[Contender]:
    """pinlake and the peers over the same files."""
    source = inputs.generated(rows)
    lake = output("pinlake", rows)
    ours = Contender("pinlake", [binary("pinlake"), "load", "--lake", lake, source], lambda: fresh(lake))
    theirs = [
        Contender(
            peer,
            [sys.executable, PEERS / f"{peer}_clean.py", source, output(peer, rows)],
            lambda peer=peer: fresh(output(peer, rows)),
        )
        for peer in peers
    ]
    return [ours, *theirs]


def run(rows: int, runs: int, peers: list[str]) -> None:
    """Prints the table for so many posts."""
    source = inputs.generated(rows)
    print(f"## load: {rows:,} posts and 10% replays, three files, {inputs.size_mb(source)} MB of NDJSON\n")
    results = measure.in_turn(contenders(rows, peers), runs)
    check(results["pinlake"], rows)
    print(report.comparison("pinlake", results))
    report.keep("load", {"posts": rows, "mb": inputs.size_mb(source), "runs": runs}, measure.record(results))


def check(runs: list[measure.Run], rows: int) -> None:
    """A load that is fast because it lost rows is no load."""
    for outcome in runs:
        for summary in map(json.loads, outcome.out.splitlines()):
            if (summary["inserted"], summary["quarantined"]) != (rows, 0):
                sys.exit(f"pinlake load inserted {summary}, where {rows} rows were to be")
