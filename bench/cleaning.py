"""The cleaner's core on one processor, beside the fastest JSON parser alone over the same bytes in the same run."""

import json
import os
import subprocess
from typing import Any

from bench import inputs, report
from bench.places import binary

# Of the parser's speed, and MB/s on to Parquet.
TARGET_PART = 0.4
TARGET_MB = {"pin": 200, "geo": 150, "user": 150}


def run(rows: int, runs: int) -> None:
    """Prints the table of the three datasets."""
    source = inputs.generated(rows)
    print(f"## cleaning: MB of NDJSON a second on one processor, {rows:,} posts and 10% replays\n")
    files = [f"{dataset}={source / dataset}.ndjson" for dataset in inputs.DATASETS]
    command = [str(binary("examples/cleaning_speed")), str(runs), *files]
    # Encoding takes all processors that it is given.
    one = {min(os.sched_getaffinity(0))}
    confine = lambda: os.sched_setaffinity(0, one)  # noqa: E731
    done = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=confine)
    figures: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    rows_of_table = [
        [of["dataset"], f"{of['simd_json']:.0f}", f"{of['serde_json']:.0f}", f"{of['clean']:.0f}",
         f"{of['clean'] / of['simd_json']:.2f}", f">= {TARGET_PART}", f"{of['insert']:.0f}",
         f"{of['clean_and_insert']:.0f}", f">= {TARGET_MB[of['dataset']]}"]
        for of in figures
    ]  # fmt: skip
    head = ["", "simd-json", "serde_json", "clean", "of simd-json", "aim", "insert", "clean, insert", "aim"]
    print(report.table(head, rows_of_table))
    report.keep("cleaning", {"posts": rows, "runs": runs}, figures)
