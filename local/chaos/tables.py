"""Reads Delta tables in a folder without pinlake and without a Delta library: the log as the protocol describes it, the
data files with DuckDB."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb


@dataclass
class Table:
    """The newest version of a table, and the errors in its log."""

    version: int
    files: dict[str, dict[str, Any]]
    rows: list[tuple[Any, ...]]
    columns: list[str]
    complaints: list[str] = field(default_factory=list)


def read(folder: Path) -> Table:
    """Reads all log entries from the first one (pinlake removes none), then the data files of the newest version."""
    complaints: list[str] = []
    files: dict[str, dict[str, Any]] = {}
    entries = sorted((folder / "_delta_log").glob("*.json"))
    for expected, entry in enumerate(entries):
        if int(entry.stem) != expected:
            complaints.append(f"version {expected} is missing: the next entry is {entry.name}")
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
        complaints += _counted(entry.name, actions)
        for action in actions:
            if add := action.get("add"):
                if add["path"] in files:
                    complaints.append(f"{entry.name} adds {add['path']}, which the table already has")
                files[add["path"]] = add
            if (remove := action.get("remove")) and files.pop(remove["path"], None) is None:
                complaints.append(f"{entry.name} removes {remove['path']}, which the table does not have")
    rows: list[tuple[Any, ...]] = []
    columns: list[str] = []
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        for path, add in files.items():
            data = folder / unquote(path)
            if not data.exists():
                complaints.append(f"data file {path} is missing")
                continue
            found = engine.execute("SELECT * FROM read_parquet(?)", [str(data)])
            columns = [column[0] for column in found.description]
            part = [tuple(tuple(cell) if isinstance(cell, list) else cell for cell in row) for row in found.fetchall()]
            stated = json.loads(add.get("stats") or "{}").get("numRecords")
            if stated != len(part):
                complaints.append(f"data file {path} has {len(part)} rows, the log says {stated}")
            rows += part
    return Table(len(entries) - 1, files, rows, columns, complaints)


def _counted(name: str, actions: list[dict[str, Any]]) -> list[str]:
    """Checks the counts of a commit: read = inserted + duplicates."""
    counts = next((action["commitInfo"].get("pinlake") for action in actions if "commitInfo" in action), None)
    if isinstance(counts, str):
        counts = json.loads(counts)
    if not counts or "read" not in counts:
        return []
    read, inserted, duplicates = (int(counts[count]) for count in ("read", "inserted", "duplicates"))
    if read != inserted + duplicates:
        return [f"{name}: read {read}, inserted {inserted}, duplicates {duplicates}"]
    return []
