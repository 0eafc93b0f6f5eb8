"""Reads a table's Delta log: its commits, and data files that no commit references."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Commit:
    """A commit that inserted rows or, with `inserted` 0, merged files."""

    at_ms: int
    read: int
    inserted: int
    bytes: int


@dataclass
class UnreferencedFile:
    """A data file that no commit references: written for a version that another writer committed."""

    bytes: int
    # A merge, if the file is larger than that of any insert.
    is_merge: bool


def read_commits(table: Path) -> list[Commit]:
    """The commits that wrote a data file, in order."""
    found = []
    for actions in _entries(table):
        added = [action["add"]["size"] for action in actions if "add" in action]
        info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
        if added:
            found.append(Commit(info["timestamp"], info["pinlake"]["read"], info["pinlake"]["inserted"], sum(added)))
    return found


def list_unreferenced(table: Path) -> list[UnreferencedFile]:
    """The data files that no commit references. Sizes include the key file."""
    referenced = {action["add"]["path"] for actions in _entries(table) for action in actions if "add" in action}
    largest = max((commit.bytes for commit in read_commits(table) if commit.inserted), default=0)
    found = []
    for file in table.glob("part-*.parquet"):
        if file.name not in referenced:
            size, keys = file.stat().st_size, table / "_pinlake_keys" / f"{file.stem}.keys"
            # Without a key file if the compactor was stopped between the two.
            found.append(UnreferencedFile(size + (keys.stat().st_size if keys.exists() else 0), size > 1.5 * largest))
    return found


def _entries(table: Path) -> list[list[dict[str, Any]]]:
    files = sorted((table / "_delta_log").glob("*.json"))
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
