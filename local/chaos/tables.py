"""Delta tables, read without pinlake and without a Delta library: the log as the protocol describes it, the data files
with DuckDB. Reads a lake's copy in a folder."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb


@dataclass
class Table:
    """A table's newest version, and what is wrong with its log."""

    version: int
    files: dict[str, dict[str, Any]]
    rows: list[tuple[Any, ...]]
    columns: list[str]
    complaints: list[str] = field(default_factory=list)


def read(folder: Path) -> Table:
    """Reads all log entries from the first on (pinlake removes none), then the files that are left."""
    complaints: list[str] = []
    files: dict[str, dict[str, Any]] = {}
    entries = sorted((folder / "_delta_log").glob("*.json"))
    for expected, entry in enumerate(entries):
        if int(entry.stem) != expected:
            complaints.append(f"version {expected} is missing: {entry.name} comes in its place")
        actions = [json.loads(line) for line in entry.read_text(encoding="utf-8").splitlines()]
        complaints += _counted(entry.name, actions)
        for action in actions:
            if add := action.get("add"):
                if add["path"] in files:
                    complaints.append(f"{entry.name} adds {add['path']}, which is there")
                files[add["path"]] = add
            if (remove := action.get("remove")) and files.pop(remove["path"], None) is None:
                complaints.append(f"{entry.name} removes {remove['path']}, which is not there")
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
    """A commit's own counts: what was read is what was inserted and what was there."""
    told = next((action["commitInfo"].get("pinlake") for action in actions if "commitInfo" in action), None)
    if isinstance(told, str):
        told = json.loads(told)
    if not told or "read" not in told:
        return []
    read, inserted, duplicates = (int(told[count]) for count in ("read", "inserted", "duplicates"))
    if read != inserted + duplicates:
        return [f"{name}: read {read}, inserted {inserted}, duplicates {duplicates}"]
    return []
