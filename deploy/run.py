"""``make deploy``: builds with `sam build` and deploys with `sam deploy`."""

import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.account import open_account
from deploy.settings import read_settings
from deploy.template import TEMPLATE
from local.console import Failure, run
from local.places import VENV_BIN, build_environment


@dataclass(frozen=True)
class Deployment:
    """What to deploy, and how."""

    file: Path
    environment: str
    region: str | None
    build_dir: Path
    #: Ask before the change set is executed.
    is_confirmed: bool
    #: Execute the change set.
    is_executed: bool


def deploy(wanted: Deployment) -> None:
    """Builds and deploys. Raises Failure, with exit code 2 for what can be known before the long build."""
    settings = read_settings(wanted.file, wanted.environment)
    region = open_account(wanted.region or settings.region, settings.profile).region
    if not region:
        raise Failure("no region is set: make deploy REGION=eu-west-1, or set AWS_REGION", 2)
    if wanted.is_confirmed and not sys.stdin.isatty():
        raise Failure("there is no terminal for the confirmation; to deploy without it: make deploy CONFIRM=no", 2)
    print(f"deploying to region {region} with section {wanted.environment} of '{wanted.file}'", file=sys.stderr)
    section = ["--config-file", wanted.file, "--config-env", wanted.environment]
    environment = build_environment()
    sam = VENV_BIN / "sam"
    run([sam, "build", *section, "--build-dir", wanted.build_dir], environment, what="sam build")
    options = [] if wanted.is_confirmed else ["--no-confirm-changeset"]
    options += [] if wanted.is_executed else ["--no-execute-changeset"]
    # SAM looks for its settings beside the template, and the built template is in the build folder.
    template = ["--template-file", wanted.build_dir / TEMPLATE.name]
    run([sam, "deploy", *section, *template, "--region", region, *options], environment, what="sam deploy")
