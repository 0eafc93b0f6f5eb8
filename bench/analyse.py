"""Section analyse: the ten results of queries/ over the tables that the section load wrote.

The run fails unless all contenders return the same rows.
"""

import json
import math
import sys
from typing import Any

from bench import load, measure, report
from bench.measure import Contender
from bench.places import PEERS, QUERIES, binary


def contenders(rows: int, peers: list[str]) -> list[Contender]:
    """pinlake over its lake, and each peer over its own Parquet files."""
    lake = load.output_folder("pinlake", rows)
    ours = Contender("pinlake", [binary("pinlake"), "analyse", "--lake", lake, "--format", "json"])
    theirs = []
    for peer in peers:
        queries = [] if peer == "polars" else [QUERIES]
        command = [sys.executable, PEERS / f"{peer}_answer.py", *queries, load.output_folder(peer, rows)]
        theirs.append(Contender(peer, command))
    return [ours, *theirs]


def run(rows: int, runs: int, peers: list[str]) -> None:
    """Measures the queries over `rows` posts and prints the table."""
    for contender in load.contenders(rows, peers):
        if not any(load.output_folder(contender.name, rows).glob("*")):
            measure.run_once(contender)
    print(f"## analyse: ten results over {rows:,} posts\n")
    results = measure.run_in_turns(contenders(rows, peers), runs)
    ours = {name: result["rows"] for name, result in json.loads(results["pinlake"][0].stdout).items()}
    for peer in results:
        if peer != "pinlake":
            check_same_results(ours, peer, json.loads(results[peer][0].stdout))
    print(report.format_comparison("pinlake", results))
    print(f"\n  all {len(ours)} results are the same for every contender, row by row")
    report.save("analyse", {"posts": rows, "runs": runs}, measure.runs_as_json(results))


def check_same_results(ours: dict[str, Any], peer: str, theirs: dict[str, Any]) -> None:
    """Exits if a peer's results differ: one of the two then measured something else."""
    if ours.keys() != theirs.keys():
        sys.exit(f"{peer} returned a different set of results: {sorted(ours.keys() ^ theirs.keys())}")
    for name, rows in ours.items():
        same = len(rows) == len(theirs[name]) and all(
            len(a) == len(b) and all(map(is_equal, a, b)) for a, b in zip(rows, theirs[name])
        )
        if not same:
            sys.exit(f"{peer} returned different rows for {name}:\n ours   {rows[:5]}\n theirs {theirs[name][:5]}")


def is_equal(a: Any, b: Any) -> bool:
    """Whether two values are equal; numbers up to rounding."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=1e-12)
    return a == b
