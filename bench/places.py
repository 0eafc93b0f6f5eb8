"""Where the harness finds the program and the functions, and keeps what it makes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "bench" / "runs"
PEERS = ROOT / "bench" / "peers"
QUERIES = ROOT / "queries"
# Inputs, lakes and peers' outputs: some GB, made again when missing.
WORK = Path(os.environ.get("PINLAKE_BENCH_WORK", ROOT / "target" / "bench"))


def target() -> str:
    """The triple that programs are built for."""
    triple = os.environ.get("CARGO_BUILD_TARGET")
    if not triple:
        lines = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout.splitlines()
        triple = next(line.split(": ")[1] for line in lines if line.startswith("host: "))
    return triple


def binary(name: str) -> Path:
    """A program of the release profile, as `make bench` builds it; or of the folder PINLAKE_BENCH_BIN."""
    other = os.environ.get("PINLAKE_BENCH_BIN")
    path = Path(other) / name if other else ROOT / "target" / target() / "release" / name
    if not path.exists():
        sys.exit(f"{path} is missing: make bench builds it")
    return path
