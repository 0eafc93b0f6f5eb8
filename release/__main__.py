"""The command line: ``python -m release build|check|notes``; `make dist` builds and checks."""

import argparse
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from release import build, check, notes, sbom
from release.places import DIST, TARGETS, version


def build_all(architectures: list[str]) -> None:
    """Fills target/dist."""
    text = notes.write_notes(version())
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir(parents=True)
    for architecture in architectures:
        print(f"building functions and program for {architecture}", file=sys.stderr)
        build.build_functions(architecture)
        build.build_program(architecture)
    (DIST / "sbom.cdx.json").write_text(sbom.write_sbom())
    (DIST / "NOTES.md").write_text(text)
    (DIST / "VERSION").write_text(version() + "\n")
    files = sorted(file for file in DIST.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def check_all(folder: Path, architectures: list[str]) -> int:
    """Checks what is in `folder`, prints the files with their sizes, and answers the exit code."""
    faults = check.find_faults(folder, architectures)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size / 1e6:8.2f} MB  {file.name}")
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if faults else 0


def main() -> int:
    """Runs one command."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("command", choices=["build", "check", "notes"])
    parser.add_argument("--architecture", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--folder", type=Path, default=DIST, help="what to check; target/dist by default")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "build":
                build_all(arguments.architecture)
            case "check":
                return check_all(arguments.folder, arguments.architecture)
            case "notes":
                print(notes.write_notes(version()), end="")
    except (subprocess.CalledProcessError, ValueError, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
