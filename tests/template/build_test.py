"""Checks that the functions that `sam build` compiles unwind on a panic (docs/decisions/panics-unwind.md). `make check`
runs it.

cargo-lambda adds its own settings to the release profile, which neither the manifest nor a build without it shows. So
this test runs `sam build` like `make deploy`, with a `cargo` on PATH that prints the plan of each build instead of
compiling. The plan has the profile of every crate.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"

# RUSTC_BOOTSTRAP: stable cargo prints its plan only if it behaves as nightly. The output of the "build" is an empty
# program, which `sam build` packages.
CARGO = """#!/bin/sh
case "$1" in
lambda) shift && exec cargo-lambda lambda "$@" ;;
build)
    RUSTC_BOOTSTRAP=1 "$REAL_CARGO" "$@" -Z unstable-options --unit-graph > "$PLANS/$(basename "$PWD").json" || exit
    while [ "$1" != --target ]; do shift; done
    mkdir -p "$CARGO_TARGET_DIR/$2/release" && : > "$CARGO_TARGET_DIR/$2/release/$(basename "$PWD")"
    ;;
*) exec "$REAL_CARGO" "$@" ;;
esac
"""


def planned(work: Path) -> dict[str, dict[str, Any]]:
    """The plans of cargo, by the name of the folder in which `sam build` started it."""
    programs, plans = work / "bin", work / "plans"
    programs.mkdir()
    plans.mkdir()
    (programs / "cargo").write_text(CARGO)
    (programs / "cargo").chmod(0o755)
    cargo = shutil.which("cargo")
    if not cargo:
        raise RuntimeError("cargo is missing: install Rust from https://rustup.rs")
    settings = {name: value for name, value in os.environ.items() if not name.startswith(("SAM_", "CARGO_LAMBDA_"))}
    settings |= {
        "PATH": os.pathsep.join([str(programs), str(Path(sys.executable).parent), settings["PATH"]]),
        # cargo-lambda runs this program as cargo.
        "CARGO": str(programs / "cargo"),
        "REAL_CARGO": cargo,
        "PLANS": str(plans),
        "CARGO_TARGET_DIR": str(work / "target"),
        # Nothing is compiled, so no standard library needs to be installed.
        "RUSTUP": "true",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(work / "sam"),
    }
    command = ["sam", "build", "--build-dir", str(work / "build"), "--template-file", str(TEMPLATE)]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"sam build: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return {plan.stem: json.loads(plan.read_text()) for plan in plans.iterdir()}


class Build(unittest.TestCase):
    def test_what_is_deployed_unwinds_on_a_panic(self) -> None:
        with tempfile.TemporaryDirectory() as work:
            plans = planned(Path(work))
        resources = yaml_parse(TEMPLATE.read_text())["Resources"].values()
        functions = [found["Properties"] for found in resources if found["Type"] == "AWS::Serverless::Function"]
        folders = {Path(function["CodeUri"]).name for function in functions}
        self.assertEqual(set(plans), folders)
        for folder, plan in plans.items():
            root = plan["units"][plan["roots"][0]]
            self.assertEqual((root["target"]["name"], root["profile"]["name"]), (folder, "release"))
            # Units without a platform run during the build.
            deployed = [unit for unit in plan["units"] if unit["platform"] and unit["mode"] == "build"]
            self.assertGreater(len(deployed), 50)
            aborting = [unit["pkg_id"] for unit in deployed if unit["profile"]["panic"] != "unwind"]
            self.assertEqual(aborting, [], f"{folder}: a panic ends the process; see [profile.release] in Cargo.toml")


if __name__ == "__main__":
    unittest.main()
