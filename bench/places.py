"""Paths of the benchmark: binaries, inputs, outputs and records."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "bench" / "runs"
PEERS = ROOT / "bench" / "peers"
QUERIES = ROOT / "queries"
# Generated inputs, lakes and peers' outputs. Some GB; safe to delete.
WORK = Path(os.environ.get("PINLAKE_BENCH_WORK", ROOT / "target" / "bench"))


def target() -> str:
    """The target triple of the binaries."""
    triple = os.environ.get("CARGO_BUILD_TARGET")
    if not triple:
        lines = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout.splitlines()
        triple = next(line.split(": ")[1] for line in lines if line.startswith("host: "))
    return triple


def binary(name: str) -> Path:
    """A binary of the release profile, or of the folder in PINLAKE_BENCH_BIN."""
    other = os.environ.get("PINLAKE_BENCH_BIN")
    path = Path(other) / name if other else ROOT / "target" / target() / "release" / name
    if not path.exists():
        sys.exit(f"{path} is missing: build it with make bench")
    return path
