"""What builds the functions: cargo, the Rust target, SAM, cargo-lambda, zig."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.finding import Finding, ok, problem, warning
from local.places import ROOT, architecture
from release.places import TARGETS

_SETUP = "run `make .venv/ready`, which installs it"


def run_tool(*command: str) -> str | None:
    """The first line that a program prints; None if it is missing or fails."""
    # rustup would install a missing toolchain as soon as it is asked for one.
    settings = os.environ | {"RUSTUP_AUTO_INSTALL": "0", "SAM_CLI_TELEMETRY": "0"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=settings, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def find_installed(name: str) -> str:
    """A program of the environment that runs this one, as `make deploy` finds it first on its PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


def check(wanted: str) -> Iterator[Finding]:
    """Checks the tools for functions of an architecture, arm64 or x86_64."""
    yield ok("python", f"Python {sys.version.split()[0]}")
    yield from _check_cargo()
    yield from _check_target(wanted)
    yield from _check_package("sam", "aws-sam-cli")
    yield from _check_package("cargo-lambda", "cargo-lambda")
    yield from _check_zig(wanted)


def _check_cargo() -> Iterator[Finding]:
    needed = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    said = run_tool("cargo", "--version")
    if said is None:
        if shutil.which("rustup"):
            advice = "run `rustup toolchain install` in this folder, which reads rust-toolchain.toml"
            yield problem("cargo", f"cargo of Rust {needed} does not run", advice)
        else:
            yield problem("cargo", "cargo is missing", "install Rust from https://rustup.rs")
        return
    if _as_numbers(said) < _as_numbers(needed):
        yield problem("cargo", f"{said} is too old: the workspace needs {needed}", "run `rustup update`")
    else:
        yield ok("cargo", said)


def _as_numbers(text: str) -> list[int]:
    found = re.search(r"\d+(\.\d+)+", text)
    return [int(part) for part in found[0].split(".")] if found else []


def _check_target(wanted: str) -> Iterator[Finding]:
    target = TARGETS.get(wanted)
    root = run_tool("rustc", "--print", "sysroot")
    # Without cargo, or with an architecture that the template refuses, there is another finding.
    if root is None or target is None:
        return
    if (Path(root) / "lib" / "rustlib" / target / "lib").is_dir():
        yield ok("rust target", f"the standard library for {target} is installed")
    elif shutil.which("rustup"):
        advice = f"run `rustup target add {target}`, or let the first build do it"
        yield warning("rust target", f"the standard library for {target} is not installed", advice)
    else:
        advice = f"install Rust from https://rustup.rs, then run `rustup target add {target}`"
        yield problem("rust target", f"this Rust has no standard library for {target}", advice)


def _check_package(name: str, package: str) -> Iterator[Finding]:
    try:
        found = version(package)
    except PackageNotFoundError:
        yield problem(name, f"{name} is not in this Python environment", _SETUP)
        return
    if shutil.which(find_installed(name)) is None:
        yield problem(name, f"the package {package} {found} is installed, but not its program {name}", _SETUP)
    else:
        yield ok(name, f"{package} {found}")


def _check_zig(wanted: str) -> Iterator[Finding]:
    if os.environ.get("CARGO_LAMBDA_COMPILER") == "cargo":
        if wanted != architecture():
            text = f"CARGO_LAMBDA_COMPILER=cargo does not cross-compile to {wanted} on its own"
            yield warning("zig", text, "unset CARGO_LAMBDA_COMPILER, so that zig does it")
        else:
            yield ok("zig", "not needed: CARGO_LAMBDA_COMPILER=cargo")
        return
    found = run_tool("zig", "version") or run_tool(find_installed("python-zig"), "version")
    if found is None:
        yield problem("zig", "zig, which links the functions for Lambda's glibc, does not run", _SETUP)
    else:
        yield ok("zig", f"zig {found}")
