"""Section insert: 100,000 new rows into tables of growing size, by the program and by a warm compactor.

DuckDB generates rows of `geo` from their number, some GB in a minute. Building the tables shows whether the memory of a
load depends on the size of its input.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from bench import measure, plot, report
from bench.cold_start import MEMORY, settings
from bench.handlers import EVENT_BYTES, RECORD_BYTES, build_kinesis_event, trigger_event
from bench.load import empty_folder
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


def write_rows(path: Path, first: int, count: int) -> Path:
    """Writes a file of `count` rows, numbered from `first`."""
    import duckdb

    path.parent.mkdir(parents=True, exist_ok=True)
    query = _ROWS.format(first=first, end=first + count)
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT json)")
    return path


def load_file(lake: Path, file: Path) -> Run:
    """Loads a file. Exits if any of its rows is not new."""
    run = measure.run_once(Contender("pinlake", [binary("pinlake"), "load", "--lake", lake, file]))
    summary = json.loads(run.stdout.splitlines()[0])
    if summary["duplicates"] or summary["quarantined"]:
        sys.exit(f"expected new rows only: {summary}")
    return run


def build_table(count: int) -> tuple[Path, dict[str, Any]]:
    """A lake whose table `geo` has `count` rows, and the figures of loading it. It is kept for the next run."""
    lake = WORK / f"geo-{count}"
    built = lake.with_suffix(".json")
    if not built.exists():
        file = write_rows(WORK / "geo.ndjson", 0, count)
        run = load_file(empty_folder(lake), file)
        figures = {"rows": count, "mb": round(file.stat().st_size / 1e6), "seconds": run.wall_s, "cpu_s": run.cpu_s,
                   "rss_mb": run.rss_mb, "others_cpu_s": run.others_cpu_s}  # fmt: skip
        file.unlink()
        built.write_text(json.dumps(figures))
    return lake, json.loads(built.read_text())


def build_events(file: Path, first: int) -> list[dict[str, Any]]:
    """The cleaner's events for the records of a file."""
    packed, size, batch = [], 0, []
    for line in file.read_bytes().splitlines():
        if size + len(line) + 1 > RECORD_BYTES:
            packed.append(("geo", b"\n".join(batch)))
            batch, size = [], 0
        batch.append(line)
        size += len(line) + 1
    packed.append(("geo", b"\n".join(batch)))
    per_event = EVENT_BYTES // RECORD_BYTES
    return [build_kinesis_event(packed[at : at + per_event], first + at) for at in range(0, len(packed), per_event)]


def measure_size(count: int, runs: int) -> dict[str, Any]:
    """Measures inserts into a table of `count` rows."""
    lake, built = build_table(count)
    # A copy, because the inserts must not change the lake that is kept.
    work = WORK / "geo-now"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(lake, work, copy_function=_link)
    next_row = 10**12
    cold = []
    for _ in range(runs + 1):
        cold.append(load_file(work, write_rows(WORK / "new" / "geo.ndjson", next_row, NEW_ROWS)))
        next_row += NEW_ROWS
    cold = cold[1:]
    warm, first = [], None
    with (
        Function(binary("cleaner"), settings(str(work)), MEMORY["cleaner"]) as clean,
        Function(binary("compactor"), settings(str(work)), MEMORY["compactor"]) as compact,
    ):
        for _ in range(runs + 1):
            for event in build_events(write_rows(WORK / "new" / "geo.ndjson", next_row, NEW_ROWS), next_row // 1000):
                assert clean.call(event).answer == {"batchItemFailures": []}
            call = compact.call(trigger_event("geo"))
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
    """Hard-links a file. Data and key files are immutable; _last_checkpoint is not, so it is copied."""
    if Path(source).name == "_last_checkpoint":
        return shutil.copy2(source, target)
    Path(target).hardlink_to(source)
    return target


def run(sizes: list[int], runs: int) -> None:
    """Measures all sizes, prints the tables and draws docs/growth.svg."""
    print(f"## insert: {NEW_ROWS:,} new rows into tables of growing size\n")
    figures = [measure_size(count, runs) for count in sizes]
    load_rows = [
        [f"{f['built']['rows']:,}", str(f["built"]["mb"]), f"{f['built']['seconds']:.1f}", f"{f['built']['cpu_s']:.1f}",
         f"{f['built']['rss_mb']:.0f}"]
        for f in figures
    ]  # fmt: skip
    print(
        report.format_table(
            ["loaded into an empty lake, rows", "MB of NDJSON", "seconds", "CPU s", "RSS MB"], load_rows
        )
    )
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
    print(report.format_table(head, insert_rows))
    report.save("insert", {"new_rows": NEW_ROWS, "runs": runs}, figures)
    lines = {
        "pinlake load, CPU s": [(f["rows"], f["cold_cpu_s"]) for f in figures],
        "compactor, first call, CPU s": [(f["rows"], f["first_cpu_s"]) for f in figures],
        "compactor, warm, CPU s": [(f["rows"], f["warm_cpu_s"]) for f in figures],
    }
    drawing = ROOT / "docs" / "growth.svg"
    drawing.write_text(plot.svg(f"CPU seconds to insert {NEW_ROWS:,} new rows", "rows in the table", lines))
    print(f"  drawn in {drawing.relative_to(ROOT)}\n")
