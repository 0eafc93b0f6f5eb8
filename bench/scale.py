"""The way to a million records a second: what each part would have to do, by `pinlake cost`, at rising rates.

The model is the program's; the sizes that run here check it (sections load, insert, handlers). docs/scale.md reads it.
"""

import json
import subprocess
from typing import Any

from bench import report
from bench.places import binary

RATES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_DAY = 86_400
# A table's key index and keys, bytes a row (shared/lake/src/keys.rs).
_INDEX_BYTES, _KEY_BYTES = 3.25, 16


def bill(rate: int, record_bytes: int, batch: int) -> dict[str, Any]:
    """The default bill at a rate."""
    command = [binary("pinlake"), "cost", "--format", "json", "--records-per-day", rate * _DAY, "--bytes-per-record",
               record_bytes, "--batch", batch]  # fmt: skip
    out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return json.loads(out)["bills"]["default"]


def run() -> None:
    """Prints what each rate asks of each part."""
    print("## scale: 1 KB records, 500 a request, 60 s of freshness, three tables, by pinlake cost\n")
    rows = []
    for rate in RATES:
        month = bill(rate, 1000, 500)
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
    head = ["records/s", "shards", "ingests at once", "cleaners", "landing objects/s", "commits/s a table",
            "compactors busy", "GB of key index a day", "GB of keys a day", "USD a month", "a million"]  # fmt: skip
    print(report.table(head, rows))
    print()
