"""Section cleaning: the cleaner's core on one processor, beside simd-json alone over the same bytes."""

import json
import os
import subprocess
from typing import Any

from bench import inputs, report
from bench.places import binary

# Target ratio to simd-json's speed, and target MB/s of cleaning and inserting.
TARGET_RATIO = 0.4
TARGET_MB = {"pin": 200, "geo": 150, "user": 150}


def run(rows: int, runs: int) -> None:
    """Measures the three datasets and prints the table."""
    source = inputs.generate(rows)
    print(f"## cleaning: MB of NDJSON a second on one processor, {rows:,} posts and 10% duplicates\n")
    files = [f"{dataset}={source / dataset}.ndjson" for dataset in inputs.DATASETS]
    command = [str(binary("examples/cleaning_speed")), str(runs), *files]
    # Encoding uses every processor of the affinity mask.
    first_cpu = {min(os.sched_getaffinity(0))}
    confine = lambda: os.sched_setaffinity(0, first_cpu)  # noqa: E731
    done = subprocess.run(command, check=True, capture_output=True, text=True, preexec_fn=confine)
    figures: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    rows_of_table = [
        [of["dataset"], f"{of['simd_json']:.0f}", f"{of['serde_json']:.0f}", f"{of['clean']:.0f}",
         f"{of['clean'] / of['simd_json']:.2f}", f">= {TARGET_RATIO}", f"{of['insert']:.0f}",
         f"{of['clean_and_insert']:.0f}", f">= {TARGET_MB[of['dataset']]}"]
        for of in figures
    ]  # fmt: skip
    head = ["", "simd-json", "serde_json", "clean", "of simd-json", "target", "insert", "clean, insert", "target"]
    print(report.format_table(head, rows_of_table))
    report.save("cleaning", {"posts": rows, "runs": runs}, figures)
