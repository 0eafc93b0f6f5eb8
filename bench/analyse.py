"""Answering: all ten results of queries/ over the tables that the section load wrote, and whether all agree."""

import json
import math
import sys
from typing import Any

from bench import load, measure, report
from bench.measure import Contender
from bench.places import PEERS, QUERIES, binary


def contenders(rows: int, peers: list[str]) -> list[Contender]:
    """pinlake over its lake, each peer over its own Parquet files."""
    lake = load.output("pinlake", rows)
    ours = Contender("pinlake", [binary("pinlake"), "analyse", "--lake", lake, "--format", "json"])
    theirs = []
    for peer in peers:
        queries = [] if peer == "polars" else [QUERIES]
        command = [sys.executable, PEERS / f"{peer}_answer.py", *queries, load.output(peer, rows)]
        theirs.append(Contender(peer, command))
    return [ours, *theirs]


def run(rows: int, runs: int, peers: list[str]) -> None:
    """Prints the table for so many posts."""
    for contender in load.contenders(rows, peers):
        if not any(load.output(contender.name, rows).glob("*")):
            measure.once(contender)
    print(f"## analyse: ten results over {rows:,} posts\n")
    results = measure.in_turn(contenders(rows, peers), runs)
    ours = {name: result["rows"] for name, result in json.loads(results["pinlake"][0].out).items()}
    for peer in results:
        if peer != "pinlake":
            agree(ours, peer, json.loads(results[peer][0].out))
    print(report.comparison("pinlake", results))
    print(f"\n  all {len(ours)} results are the same, row by row, with every contender")
    report.keep("analyse", {"posts": rows, "runs": runs}, measure.record(results))


def agree(ours: dict[str, Any], peer: str, theirs: dict[str, Any]) -> None:
    """Ends the run when a peer's answers are others: then one of the two measured something else."""
    if ours.keys() != theirs.keys():
        sys.exit(f"{peer} has other results: {sorted(ours.keys() ^ theirs.keys())}")
    for name, rows in ours.items():
        same = len(rows) == len(theirs[name]) and all(
            len(a) == len(b) and all(map(equal, a, b)) for a, b in zip(rows, theirs[name])
        )
        if not same:
            sys.exit(f"{peer} has other rows in {name}:\n ours   {rows[:5]}\n theirs {theirs[name][:5]}")


def equal(a: Any, b: Any) -> bool:
    """Cells are equal; numbers as numbers."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-12)
    return a == b
