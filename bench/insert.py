"""Inserting 100,000 new rows into tables of growing size: by the program, and by a warm compactor.

The rows are `geo`'s, made by DuckDB from their number: real columns, and files of some GB in a minute. Building the
tables shows whether the memory of a load depends on the size of its input.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from bench import measure, plot, report
from bench.cold_start import MEMORY, settings
from bench.handlers import EVENT_BYTES, RECORD_BYTES, deliveries, wake
from bench.load import fresh
from bench.measure import Contender, Run
from bench.places import ROOT, WORK, binary
from bench.runtime import Function

NEW_ROWS = 100_000
_ROWS = """
SELECT n AS ind,
    strftime(TIMESTAMP '2018-01-01' + to_seconds(CAST(hash(n) % 157680000 AS BIGINT)), '%Y-%m-%d %H:%M:%S')
        AS timestamp,
    (hash(n + 1) % 1800000) / 10000 - 90 AS latitude, (hash(n + 2) % 3600000) / 10000 - 180 AS longitude,
    ['Aruba', 'Benin', 'Chile', 'Denmark', 'Estonia', 'Fiji', 'Ghana', 'Honduras'][1 + CAST(hash(n + 3) % 8 AS INTEGER)]
        AS country
FROM range({first}, {end}) AS numbers(n)
"""


def rows(path: Path, first: int, count: int) -> Path:
    """A file of so many rows, numbered from `first` on."""
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    query = _ROWS.format(first=first, end=first + count)
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT json)")
    return path


def load(lake: Path, file: Path) -> Run:
    """Loads a file of rows that are new."""
    run = measure.once(Contender("pinlake", [binary("pinlake"), "load", "--lake", lake, file]))
    summary = json.loads(run.out.splitlines()[0])
    if summary["duplicates"] or summary["quarantined"]:
        sys.exit(f"rows were to be new: {summary}")
    return run


def table(count: int) -> tuple[Path, dict[str, Any]]:
    """A lake whose table `geo` has so many rows, and what it took to load them. It is kept for the next time."""
    lake = WORK / f"geo-{count}"
    built = lake.with_suffix(".json")
    if not built.exists():
        file = rows(WORK / "geo.ndjson", 0, count)
        run = load(fresh(lake), file)
        figures = {"rows": count, "mb": round(file.stat().st_size / 1e6), "seconds": run.wall_s, "cpu_s": run.cpu_s,
                   "rss_mb": run.rss_mb, "others_cpu_s": run.others_cpu_s}  # fmt: skip
        file.unlink()
        built.write_text(json.dumps(figures))
    return lake, json.loads(built.read_text())


def events(file: Path, first: int) -> list[dict[str, Any]]:
    """A file's records as the cleaner gets them."""
    packed, size, batch = [], 0, []
    for line in file.read_bytes().splitlines():
        if size + len(line) + 1 > RECORD_BYTES:
            packed.append(("geo", b"\n".join(batch)))
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    packed.append(("geo", b"\n".join(batch)))
    most = EVENT_BYTES // RECORD_BYTES
    return [deliveries(packed[at : at + most], first + at) for at in range(0, len(packed), most)]


def measured(count: int, runs: int) -> dict[str, Any]:
    """The figures of one size."""
    lake, built = table(count)
    # What is inserted must not be there the next time.
    work = WORK / "geo-now"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(lake, work, copy_function=_link)
    next_row = 10**12
    cold = []
    for _ in range(runs + 1):
        cold.append(load(work, rows(WORK / "new" / "geo.ndjson", next_row, NEW_ROWS)))
        next_row += NEW_ROWS
    cold = cold[1:]
    warm, first = [], None
    with (
        Function(binary("cleaner"), settings(str(work)), MEMORY["cleaner"]) as clean,
        Function(binary("compactor"), settings(str(work)), MEMORY["compactor"]) as compact,
    ):
        for _ in range(runs + 1):
            for event in events(rows(WORK / "new" / "geo.ndjson", next_row, NEW_ROWS), next_row // 1000):
                assert clean.call(event).answer == {"batchItemFailures": []}
            call = compact.call(wake("geo"))
            assert call.answer == {"batchItemFailures": []}, call.answer
            next_row += NEW_ROWS
            if first is None:
                first = call
            else:
                warm.append(call)
        rss = compact.peak_rss_mb
    shutil.rmtree(work)
    middle = statistics.median
    return {
        "rows": count,
        "built": built,
        "cold_s": middle(run.wall_s for run in cold),
        "cold_cpu_s": middle(run.cpu_s for run in cold),
        "cold_rss_mb": max(run.rss_mb for run in cold),
        "first_s": first.wall_ms / 1e3,
        "first_cpu_s": first.cpu_ms / 1e3,
        "warm_s": middle(call.wall_ms for call in warm) / 1e3,
        "warm_cpu_s": middle(call.cpu_ms for call in warm) / 1e3,
        "compactor_rss_mb": rss,
        "others_cpu_s": middle(run.others_cpu_s for run in cold),
    }


def _link(source: str, target: str) -> str:
    """Data and key files are never changed; the log's pointer to a checkpoint is."""
    if Path(source).name == "_last_checkpoint":
        return shutil.copy2(source, target)
    Path(target).hardlink_to(source)
    return target


def run(sizes: list[int], runs: int) -> None:
    """Prints the table and draws how time grows."""
    print(f"## insert: {NEW_ROWS:,} new rows into tables of growing size\n")
    figures = [measured(count, runs) for count in sizes]
    load_rows = [
        [f"{f['built']['rows']:,}", str(f["built"]["mb"]), f"{f['built']['seconds']:.1f}", f"{f['built']['cpu_s']:.1f}",
         f"{f['built']['rss_mb']:.0f}"]
        for f in figures
    ]  # fmt: skip
    print(report.table(["loaded from nothing, rows", "MB of NDJSON", "seconds", "CPU s", "RSS MB"], load_rows))
    print()
    insert_rows = [
        [f"{f['rows']:,}", *(f"{f[name]:.2f}" for name in ("cold_s", "cold_cpu_s")), f"{f['cold_rss_mb']:.0f}",
         *(f"{f[name]:.2f}" for name in ("first_s", "warm_s", "warm_cpu_s")), f"{f['compactor_rss_mb']:.0f}",
         f"{f['warm_cpu_s'] / figures[0]['warm_cpu_s']:.1f}"]
        for f in figures
    ]  # fmt: skip
    head = [
        "rows in the table",
        "load, s",
        "CPU s",
        "RSS MB",
        "compactor, first s",
        "warm s",
        "warm CPU s",
        "RSS MB",
        "CPU x",
    ]
    print(report.table(head, insert_rows))
    report.keep("insert", {"new_rows": NEW_ROWS, "runs": runs}, figures)
    lines = {
        "pinlake load, CPU s": [(f["rows"], f["cold_cpu_s"]) for f in figures],
        "compactor, first call, CPU s": [(f["rows"], f["first_cpu_s"]) for f in figures],
        "compactor, warm, CPU s": [(f["rows"], f["warm_cpu_s"]) for f in figures],
    }
    drawing = ROOT / "docs" / "growth.svg"
    drawing.write_text(plot.svg(f"CPU seconds to insert {NEW_ROWS:,} new rows", "rows in the table", lines))
    print(f"  drawn in {drawing.relative_to(ROOT)}\n")
