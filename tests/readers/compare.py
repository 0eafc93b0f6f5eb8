"""Compares what the readers read: compare.py WORK. Prints every complaint; the exit code is 1 if there is one."""

import json
import re
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from deltalake import DeltaTable

work = Path(sys.argv[1])
complaints = []

STATISTICS = ("numRecords", "minValues", "maxValues", "nullCount")


def check(holds, complaint):
    if not holds:
        complaints.append(complaint)


def rows_read_by(reader, table):
    return (work / "read" / reader / f"{table}.ndjson").read_text(encoding="utf-8").splitlines()


def expected_counts():
    """The expected rows of each table, from the summaries that `pinlake load` printed."""
    counts = defaultdict(int)
    for line in (work / "counts.ndjson").read_text().splitlines():
        load = json.loads(line)
        parts = load["inserted"] + load["duplicates"] + load["quarantined"]
        check(load["read"] == parts, f"the counts of {line} do not add up")
        if load["dataset"]:
            counts[load["dataset"]] += load["inserted"]
        counts["quarantine"] += load["quarantined"]
    return {table: rows for table, rows in counts.items() if rows}


def comparable(cell):
    """Converts a cell for comparison: statistics and rows format times differently, and texts are ordered by bytes."""
    if not isinstance(cell, str):
        return cell
    if re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", cell):
        return datetime.fromisoformat(cell.replace("Z", "+00:00"))
    return cell.encode()


def added_files(path):
    """The add actions of a table's newest version, by file."""
    adds = {}
    for version in sorted((path / "_delta_log").glob("*.json")):
        for action in map(json.loads, version.read_text(encoding="utf-8").splitlines()):
            if "add" in action:
                adds[action["add"]["path"]] = action["add"]
            if "remove" in action:
                adds.pop(action["remove"]["path"], None)
    return adds.values()


def check_statistics(name, path, rows):
    """Checks the statistics in the log against the rows of the files."""
    statistics = [json.loads(add.get("stats") or "{}") for add in added_files(path)]
    check(statistics, f"{name}: no data file in the log")
    missing = [part for part in STATISTICS if not all(part in stats for stats in statistics)]
    check(not missing, f"{name}: statistics without {', '.join(missing)}")
    if missing or not rows:
        return
    check(sum(stats["numRecords"] for stats in statistics) == len(rows), f"{name}: numRecords is wrong")
    for column, cell in rows[0].items():
        if isinstance(cell, list) or column in ("raw", "_key"):
            continue  # arrays and bytes have no order
        known = [comparable(row[column]) for row in rows if row[column] is not None]
        nulls = sum(stats["nullCount"].get(column, -1) for stats in statistics)
        check(nulls == len(rows) - len(known), f"{name}.{column}: nullCount {nulls} of {len(rows) - len(known)}")
        least = [comparable(stats["minValues"][column]) for stats in statistics if column in stats["minValues"]]
        most = [comparable(stats["maxValues"][column]) for stats in statistics if column in stats["maxValues"]]
        if known:
            check(least and most, f"{name}.{column}: no bounds")
        if known and least and most:
            check_bounds(f"{name}.{column}", (min(least), max(most)), (min(known), max(known)))


def check_bounds(column, stated, actual):
    if isinstance(actual[0], datetime):
        # Statistics have milliseconds.
        apart = [abs((one - other).total_seconds()) for one, other in zip(stated, actual)]
        check(max(apart) < 0.001, f"{column}: bounds {stated} of {actual}")
    elif isinstance(actual[0], bytes):
        # Long texts are truncated, so the bounds may be wider than the rows.
        check(stated[0] <= actual[0] and stated[1] >= actual[1], f"{column}: bounds {stated} of {actual}")
    else:
        check(stated == actual, f"{column}: bounds {stated} of {actual}")


def check_contract(name, table):
    settings = table.metadata().configuration
    check(settings.get("pinlake.contract") == name, f"{name}: pinlake.contract is {settings.get('pinlake.contract')}")
    version = settings.get("pinlake.contract.version", "")
    check(version.isdigit(), f"{name}: pinlake.contract.version is {version!r}")
    for field in table.schema().fields:
        check(field.metadata.get("comment"), f"{name}.{field.name}: no comment")


expected = expected_counts()
found = {path.name for path in (work / "lake" / "tables").iterdir()}
check(found == set(expected), f"tables {sorted(found)}, expected {sorted(expected)}")
summary = []
for name in sorted(found):
    path = work / "lake" / "tables" / name
    table = DeltaTable(str(path))
    first, second = (rows_read_by(reader, name) for reader in ("deltalake", "delta-lake-reader"))
    different = sorted(set(first) ^ set(second))
    check(first == second, f"{name}: the readers differ in {len(different)} rows: {different[:1]}")
    # A record that breaks its contract counts each time it is loaded, and is in quarantine once.
    fits = 0 < len(first) <= expected[name] if name == "quarantine" else len(first) == expected.get(name)
    check(fits, f"{name}: {len(first)} rows, pinlake counted {expected.get(name)}")
    check(len(set(first)) == len(first), f"{name}: duplicate rows")
    check_statistics(name, path, [json.loads(row) for row in first])
    check_contract(name, table)
    summary.append(f"{name} {len(first)} rows at version {table.version()}")

for complaint in complaints:
    print(f"readers: {complaint}", file=sys.stderr)
print(f"readers: deltalake and delta-lake-reader read {', '.join(summary)}: {len(complaints)} complaints")
sys.exit(1 if complaints else 0)
