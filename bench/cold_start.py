"""Cold start: from starting a function's program to its first request for an event, AWS clients made; and its size."""

import statistics
import tempfile
import zipfile
from pathlib import Path

from bench import report
from bench.places import binary
from bench.runtime import Function

FUNCTIONS = ("ingest", "cleaner", "compactor", "analysis")
# MemorySize in template.yaml, which only tells the program what it has: here it has all.
MEMORY = {"ingest": 512, "cleaner": 1024, "compactor": 2048, "analysis": 3008}
TARGET_MS = {"ingest": 25, "cleaner": 25, "compactor": 100, "analysis": 100}
TARGET_MB = {"ingest": 6, "cleaner": 6, "compactor": 30, "analysis": 30}


def settings(lake: str) -> dict[str, str]:
    """What every function is told."""
    return {
        "PINLAKE_LAKE": lake,
        "PINLAKE_STREAM": "records",
        "PINLAKE_ANONYMOUS": "true",
        "PINLAKE_QUEUE_URL": "http://127.0.0.1:9/0/wake-ups",
        "PINLAKE_RESULTS_TABLE": "results",
    }


def zipped_mb(program: Path) -> float:
    """What would be uploaded: the program as `bootstrap`, deflated."""
    with tempfile.TemporaryFile() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            archive.write(program, "bootstrap")
        return packed.tell() / 1e6


def run(runs: int) -> None:
    """Prints the table of all functions."""
    print("## cold start: process start to the first `next`, AWS clients for S3 included; and the size deployed\n")
    rows, figures = [], {}
    for name in FUNCTIONS:
        program = binary(name)
        starts = []
        for _ in range(runs + 1):
            with Function(program, settings("s3://bench-lake"), MEMORY[name]) as function:
                starts.append((function.cold_start_ms, function.cold_start_cpu_ms, function.peak_rss_mb))
        wall, cpu, rss = (statistics.median(column) for column in zip(*starts[1:]))
        least = min(start[0] for start in starts[1:])
        size = zipped_mb(program)
        figures[name] = {"starts": starts[1:], "zipped_mb": round(size, 2), "bytes": program.stat().st_size}
        rows.append(
            [name, f"{wall:.1f}", f"{least:.1f}", f"{cpu:.1f}", f"< {TARGET_MS[name]}", f"{rss:.0f}",
             f"{program.stat().st_size / 1e6:.1f}", f"{size:.1f}", f"< {TARGET_MB[name]}"]
        )  # fmt: skip
    head = ["", "ms, median", "least", "CPU ms", "aim", "RSS MB", "MB", "MB zipped", "aim"]
    print(report.table(head, rows))
    report.keep("cold-start", {"runs": runs}, figures)
