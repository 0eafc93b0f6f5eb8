"""Section scale: what each part would do at rates up to a million records a second, by `pinlake cost`.

Nothing is measured: the model is the program's. docs/scale.md discusses the result.
"""

import json
import subprocess
from typing import Any

from bench import report
from bench.places import binary

RATES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_DAY = 86_400
# Bytes a row of a table's key index and keys (shared/lake).
_INDEX_BYTES, _KEY_BYTES = 3.25, 16


def estimate_bill(rate: int, record_bytes: int, batch: int) -> dict[str, Any]:
    """The bill of the default settings at a rate in records a second."""
    command = [binary("pinlake"), "cost", "--format", "json", "--records-per-day", rate * _DAY, "--bytes-per-record",
               record_bytes, "--batch", batch]  # fmt: skip
    out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["bills"]["default"]


def run() -> None:
    """Prints the load of each part at each rate."""
    print("## scale: 1 KB records, 500 a request, 60 s of freshness, three tables, by pinlake cost\n")
    rows = []
    for rate in RATES:
        month = estimate_bill(rate, 1000, 500)
        flow = month["flow_per_second"]
        seconds = flow["seconds"]
        commits = flow["compactions"] * flow["commits"]
        busy = flow["compactions"] * seconds["compactor"]
        rows.append(
            [f"{rate:,}", f"{flow['shards']:,.0f}", f"{flow['requests'] * seconds['ingest']:.2f}",
             f"{flow['cleanings'] * seconds['cleaner']:.2f}", f"{flow['cleanings'] * flow['objects']:.1f}",
             f"{commits / flow['datasets']:.2f}", f"{busy:.2f}", f"{rate * _DAY * _INDEX_BYTES / 1e9:,.2f}",
             f"{rate * _DAY * _KEY_BYTES / 1e9:,.2f}", f"{month['usd_per_month']:,.0f}",
             f"{month['usd_per_million']:.3f}"]
        )  # fmt: skip
    head = ["records/s", "shards", "concurrent ingests", "cleaners", "landing objects/s", "commits/s a table",
            "compactors busy", "GB of key index a day", "GB of keys a day", "USD a month", "a million"]  # fmt: skip
    print(report.format_table(head, rows))
    print()
