"""Section cold-start: from process start to the first request for an event, AWS clients included; and the size."""

import statistics
import tempfile
import zipfile
from pathlib import Path

from bench import report
from bench.places import binary
from bench.runtime import Function

FUNCTIONS = ("ingest", "cleaner", "compactor", "analysis", "report")
# MemorySize in template.yaml, passed to the function as its memory size. The benchmark does not limit its memory.
MEMORY = {"ingest": 512, "cleaner": 1024, "compactor": 2048, "analysis": 3008, "report": 1024}
TARGET_MS = {"ingest": 25, "cleaner": 25, "compactor": 100, "analysis": 100, "report": 100}
TARGET_MB = {"ingest": 6, "cleaner": 6, "compactor": 30, "analysis": 30, "report": 30}


def settings(lake: str) -> dict[str, str]:
    """Environment variables of every function."""
    return {
        "PINLAKE_LAKE": lake,
        "PINLAKE_STREAM": "records",
        "PINLAKE_ANONYMOUS": "true",
        "PINLAKE_QUEUE_URL": "http://127.0.0.1:9/0/triggers",
        "PINLAKE_RESULTS_TABLE": "results",
    }


def zipped_mb(program: Path) -> float:
    """Size of the deployment package: the program as `bootstrap` in a zip file."""
    with tempfile.TemporaryFile() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            archive.write(program, "bootstrap")
        return packed.tell() / 1e6


def run(runs: int) -> None:
    """Measures all functions and prints the table."""
    print("## cold start: process start to the first `next`, S3 client included; and the size deployed\n")
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
    head = ["", "ms, median", "min", "CPU ms", "target", "RSS MB", "MB", "MB zipped", "target"]
    print(report.format_table(head, rows))
    report.save("cold-start", {"runs": runs}, figures)
