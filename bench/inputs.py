"""The files that everybody reads: posts as clients send them, one in ten replayed, three datasets."""

import json
import subprocess
from pathlib import Path

from bench.places import WORK, binary

DATASETS = ("pin", "geo", "user")


def generated(rows: int, *, seed: int = 1, name: str = "rows") -> Path:
    """A folder with pin.ndjson, geo.ndjson and user.ndjson of so many posts; the same bytes each time."""
    folder = WORK / f"{name}-{rows}-{seed}"
    done = folder.with_suffix(".json")
    if not done.exists():
        command = [
            binary("pinlake"),
            "generate",
            "--out",
            folder,
            "--rows",
            rows,
            "--duplicates",
            "0.1",
            "--seed",
            seed,
        ]
        made = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        done.write_text(made)
    return folder


def size_mb(folder: Path) -> int:
    """MB of a folder's files."""
    return round(sum(file["bytes"] for file in json.loads(folder.with_suffix(".json").read_text())["files"]) / 1e6)
