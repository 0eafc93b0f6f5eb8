"""What a table's log says of its commits, and what lies beside the log that no commit names."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Commit:
    """A commit that inserted rows, or merged files: then it inserted none."""

    at_ms: int
    read: int
    inserted: int
    bytes: int


@dataclass
class Unnamed:
    """A data file that no commit names: written for a version that was lost."""

    bytes: int
    # Larger than any insert's: a merge's.
    is_merge: bool


def commits(table: Path) -> list[Commit]:
    """The commits that wrote a data file, in order."""
    made = []
    for actions in _entries(table):
        added = [action["add"]["size"] for action in actions if "add" in action]
        info = next(action["commitInfo"] for action in actions if "commitInfo" in action)
        if added:
            made.append(Commit(info["timestamp"], info["pinlake"]["read"], info["pinlake"]["inserted"], sum(added)))
    return made


def unnamed(table: Path) -> list[Unnamed]:
    """The data files that no commit names, each with its key file."""
    named = {action["add"]["path"] for actions in _entries(table) for action in actions if "add" in action}
    largest = max((commit.bytes for commit in commits(table) if commit.inserted), default=0)
    found = []
    for file in table.glob("part-*.parquet"):
        if file.name not in named:
            size, keys = file.stat().st_size, table / "_pinlake_keys" / f"{file.stem}.keys"
            # A compactor that is ended in between has not written the second.
            found.append(Unnamed(size + (keys.stat().st_size if keys.exists() else 0), size > 1.5 * largest))
    return found


def _entries(table: Path) -> list[list[dict[str, Any]]]:
    files = sorted((table / "_delta_log").glob("*.json"))
    return [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
