"""Checks that `make deploy` fails before the long build if it has no region or would wait for an answer for ever, and
how it calls SAM.

`make check` runs it. `make up` and the tests deploy with `make deploy`, so success is not tested here.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from deploy import run
from local.places import ROOT


def deploy(settings: dict[str, str], *options: str) -> tuple[int, str]:
    """Runs `make deploy` without a terminal and a region. Returns its exit code and its output."""
    foreign = ("AWS_", "MAKE", "MFLAGS", "REGION", "CONFIRM", "SAMCONFIG", "ENVIRONMENT", "EXECUTE")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    clean |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull} | settings
    done = subprocess.run(
        ["make", "deploy", "DEPLOY_DIR=/dev/null/nowhere", *options],
        cwd=ROOT,
        env=clean,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


class Deploy(unittest.TestCase):
    def refused(self, advice: str, settings: dict[str, str], *options: str) -> None:
        code, said = deploy(settings, *options)
        self.assertEqual((code, "deploying to" in said), (2, False), said)
        self.assertIn(advice, said)

    def test_a_region_is_required(self) -> None:
        self.refused("make deploy REGION=", {}, "CONFIRM=no")

    def test_nothing_is_asked_without_a_terminal(self) -> None:
        self.refused("make deploy CONFIRM=no", {"AWS_REGION": "eu-west-1"})
        self.refused("make deploy CONFIRM=no", {}, "REGION=eu-west-1", "CONFIRM=yes")

    def test_an_unknown_environment_is_refused(self) -> None:
        self.refused("has no section production", {}, "REGION=eu-west-1", "CONFIRM=no", "ENVIRONMENT=production")

    def calls(self, region: str | None, **options: bool) -> list[list[str]]:
        """The commands that a deployment runs, with a section that has a region."""
        called = []
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "samconfig.toml")
            file.write_text('version = 0.1\n[x.deploy.parameters]\nstack_name = "s"\nregion = "eu-north-1"\n')
            keep = mock.patch.object(
                run, "run", lambda command, environment, what: called.append((command, environment))
            )
            make = mock.patch.dict(os.environ, {"MAKEFLAGS": " --jobserver-auth=3,4", "MAKELEVEL": "1"})
            wanted = run.Deployment(
                file, "x", region, Path("built"), **{"is_confirmed": False, "is_executed": True} | options
            )
            with keep, make, contextlib.redirect_stderr(io.StringIO()):
                run.deploy(wanted)
        for _, environment in called:
            self.assertFalse({"MAKEFLAGS", "MAKELEVEL"} & set(environment))
            self.assertEqual(environment["PATH"].split(os.pathsep)[0], str(ROOT / ".venv" / "bin"))
        return [[Path(str(part)).name for part in command] for command, _ in called]

    def test_sam_gets_section_template_and_region(self) -> None:
        section = ["--config-file", "samconfig.toml", "--config-env", "x"]
        build, deployed = self.calls("eu-west-1")
        self.assertEqual(build, ["sam", "build", *section, "--build-dir", "built"])
        template = ["--template-file", "template.yaml", "--region", "eu-west-1"]
        self.assertEqual(deployed, ["sam", "deploy", *section, *template, "--no-confirm-changeset"])
        self.assertIn("eu-north-1", self.calls(None)[1])
        self.assertIn("--no-execute-changeset", self.calls(None, is_executed=False)[1])


if __name__ == "__main__":
    unittest.main()
