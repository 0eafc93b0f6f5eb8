"""Generates the input files: posts as clients send them, one in ten a duplicate, in three datasets."""

import json
import subprocess
from pathlib import Path

from bench.places import WORK, binary

DATASETS = ("pin", "geo", "user")


def generate(rows: int, *, seed: int = 1, name: str = "rows") -> Path:
    """A folder with pin.ndjson, geo.ndjson and user.ndjson of `rows` posts. The same arguments give the same bytes."""
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
        output = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
        done.write_text(output)
    return folder


def size_mb(folder: Path) -> int:
    """Size of a folder of `generate` in MB (10^6 bytes)."""
    return round(sum(file["bytes"] for file in json.loads(folder.with_suffix(".json").read_text())["files"]) / 1e6)
