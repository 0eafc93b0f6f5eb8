"""Judges what the readers read: compare.py WORK. Every complaint is printed; the exit code is 1 if there is one."""

import json
import sys
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from deltalake import DeltaTable

work = Path(sys.argv[1])
complaints = []


def check(holds, complaint):
    if not holds:
        complaints.append(complaint)


def rows_read_by(reader, table):
    return (work / "read" / reader / f"{table}.ndjson").read_text(encoding="utf-8").splitlines()


def expected_counts():
    """Rows that the tables have to have, from what the loads printed."""
    counts = defaultdict(int)
    for line in (work / "counts.ndjson").read_text().splitlines():
        load = json.loads(line)
        parts = load["inserted"] + load["duplicates"] + load["quarantined"]
        check(load["read"] == parts, f"the counts of {line} do not add up")
        if load["dataset"]:
            counts[load["dataset"]] += load["inserted"]
        counts["quarantine"] += load["quarantined"]
    return {table: rows for table, rows in counts.items() if rows}


def comparable(value):
    """Statistics and rows write times in different ways."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return value
    return value


def check_statistics(name, table, rows):
    """What the log says about its files has to be true of their rows."""
    adds = {}
    for version in sorted((Path(table.table_uri.removeprefix("file://")) / "_delta_log").glob("*.json")):
        for line in version.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                adds[action["add"]["path"]] = action["add"]
            if "remove" in action:
                adds.pop(action["remove"]["path"], None)
    statistics = [json.loads(add.get("stats") or "{}") for add in adds.values()]
    check(statistics, f"{name}: no data file in the log")
    for part in ("numRecords", "minValues", "maxValues", "nullCount"):
        check(all(part in stats for stats in statistics), f"{name}: statistics without {part}")
    if complaints:
        return
    check(sum(stats["numRecords"] for stats in statistics) == len(rows), f"{name}: numRecords is not the rows")
    for column in rows[0]:
        cells = [row[column] for row in rows]
        known = [comparable(cell) for cell in cells if cell is not None]
        if known and isinstance(known[0], list) or column == "raw":
            continue  # arrays and bytes have no order
        nulls = sum(stats["nullCount"].get(column, -1) for stats in statistics)
        check(nulls == len(cells) - len(known), f"{name}.{column}: nullCount says {nulls}, {len(cells) - len(known)} are null")
        if not known:
            continue
        least = [comparable(s["minValues"][column]) for s in statistics if column in s["minValues"]]
        most = [comparable(s["maxValues"][column]) for s in statistics if column in s["maxValues"]]
        if isinstance(known[0], str):
            # Long texts are cut: the bounds may lie outside, never inside.
            encoded = [cell.encode() for cell in known]
            check(all(min(encoded) >= m.encode() for m in [min(least, default="")]), f"{name}.{column}: minValues is above a row")
            if len(most) == len(statistics):
                check(max(encoded) <= max(m.encode() for m in most), f"{name}.{column}: maxValues is below a row")
        elif isinstance(known[0], datetime):
            # The log has milliseconds.
            check(least and abs((min(least) - min(known)).total_seconds()) < 0.001, f"{name}.{column}: minValues")
            check(most and abs((max(most) - max(known)).total_seconds()) < 0.001, f"{name}.{column}: maxValues")
        else:
            check(least and min(least) == min(known), f"{name}.{column}: minValues is not the least")
            check(most and max(most) == max(known), f"{name}.{column}: maxValues is not the largest")


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
    table = DeltaTable(str(work / "lake" / "tables" / name))
    first, second = (rows_read_by(reader, name) for reader in ("deltalake", "delta-lake-reader"))
    check(first == second, f"{name}: the readers differ, first in {next(iter(set(first) ^ set(second)), 'their number')}")
    check(len(first) == expected.get(name), f"{name}: {len(first)} rows, pinlake counted {expected.get(name)}")
    check(len(set(first)) == len(first), f"{name}: rows stand twice")
    check_statistics(name, table, [json.loads(row) for row in first])
    check_contract(name, table)
    summary.append(f"{name} {len(first)} rows at version {table.version()}")

for complaint in complaints:
    print(f"readers: {complaint}", file=sys.stderr)
print(f"readers: deltalake and delta-lake-reader read {', '.join(summary)}: {len(complaints)} complaints")
sys.exit(1 if complaints else 0)
