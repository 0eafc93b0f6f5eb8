"""Checks that `make deploy` fails before the long build if it has no region or would wait for an answer for ever.

`make check` runs it. `make up` and the tests deploy with `make deploy`, so success is not tested here.
"""

import os
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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


if __name__ == "__main__":
    unittest.main()
