"""Section load: NDJSON -> clean -> distinct -> tables, three files, beside peers that write Parquet."""

import json
import shutil
import sys
from pathlib import Path

from bench import inputs, measure, report
from bench.measure import Contender
from bench.places import PEERS, WORK, binary

PEER_NAMES = ("duckdb", "polars", "spark")


def empty_folder(folder: Path) -> Path:
    """Creates an empty folder; deletes an existing one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def output_folder(name: str, rows: int) -> Path:
    """The folder for a contender's tables of `rows` posts."""
    return WORK / "out" / f"{name}-{rows}"


def contenders(rows: int, peers: list[str]) -> list[Contender]:
    """pinlake and its peers over the same input."""
    source = inputs.generate(rows)
    lake = output_folder("pinlake", rows)
    ours = Contender("pinlake", [binary("pinlake"), "load", "--lake", lake, source], lambda: empty_folder(lake))
    theirs = [
        Contender(
            peer,
            [sys.executable, PEERS / f"{peer}_clean.py", source, output_folder(peer, rows)],
            lambda peer=peer: empty_folder(output_folder(peer, rows)),
        )
        for peer in peers
    ]
    return [ours, *theirs]


def run(rows: int, runs: int, peers: list[str]) -> None:
    """Measures loading `rows` posts and prints the table."""
    source = inputs.generate(rows)
    print(f"## load: {rows:,} posts and 10% duplicates, three files, {inputs.size_mb(source)} MB of NDJSON\n")
    results = measure.run_in_turns(contenders(rows, peers), runs)
    check_summaries(results["pinlake"], rows)
    print(report.format_comparison("pinlake", results))
    report.save("load", {"posts": rows, "mb": inputs.size_mb(source), "runs": runs}, measure.runs_as_json(results))


def check_summaries(runs: list[measure.Run], rows: int) -> None:
    """Exits if a load did not insert every row: its time would mean nothing."""
    for outcome in runs:
        for summary in map(json.loads, outcome.stdout.splitlines()):
            if (summary["inserted"], summary["quarantined"]) != (rows, 0):
                sys.exit(f"pinlake load printed {summary}, expected {rows} inserted rows and none quarantined")
