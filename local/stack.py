"""Builds the functions, deploys template.yaml to the stand-in, and writes down where everything is."""

import json
import os
from typing import Any

import boto3
from botocore.config import Config

from local import stand_in
from local.console import run, say
from local.places import (
    DEMO,
    REGION,
    ROOT,
    STACK_JSON,
    STACK_NAME,
    VENV_BIN,
    architecture,
    environment,
)
from local.stand_in import StandIn

_BUILD = DEMO / "build"
_FUNCTIONS = ("ingest", "cleaner", "compactor", "analysis")


def up() -> dict[str, Any]:
    """Brings the stack up, or up to date if it already is, and gives what stack.json holds."""
    DEMO.mkdir(parents=True, exist_ok=True)
    runs = stand_in.start()
    settings = environment(runs.endpoint)
    _build(settings)
    _deploy(settings)
    described = _describe(runs)
    _write(described)
    say(f"the stack is up: {STACK_JSON.relative_to(ROOT)} says where; ingest is at {described['ingest_url']}")
    return described


def client(service: str, endpoint: str, **timeouts: int) -> Any:
    """A boto3 client of the stand-in, which no proxy reaches."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    return session.client(
        service, endpoint_url=endpoint, config=Config(proxies={}, retries={"total_max_attempts": 1}, **timeouts)
    )


def _build(settings: dict[str, str]) -> None:
    """`sam build` in the profile, for the target and with the features that `make build` has used: it compiles
    nothing again, it only packs."""
    say("sam build: packing the functions")
    quick = {
        "SAM_BUILD_MODE": "debug",
        # Not zig, which is for building on one kind of machine what runs on another.
        "CARGO_LAMBDA_COMPILER": "cargo",
        # Without it, cargo would choose the features of shared dependencies for each function anew, and build anew.
        "CARGO_LAMBDA_COMPILER_EXTRA_ARGS": "--workspace",
    }
    run(
        [VENV_BIN / "sam", "build", "--template-file", ROOT / "template.yaml", "--build-dir", _BUILD,
         "--parameter-overrides", f"Architecture={architecture()}"],
        settings | quick,
        what="sam build",
        log=DEMO / "sam-build.log",
    )  # fmt: skip


def _deploy(settings: dict[str, str]) -> None:
    say("sam deploy: template.yaml to the stand-in")
    run(
        [VENV_BIN / "sam", "deploy", "--template-file", _BUILD / "template.yaml",
         "--config-file", ROOT / "samconfig.toml", "--config-env", "local", "--stack-name", STACK_NAME,
         "--parameter-overrides", f"Architecture={architecture()}", "AnonymousIngest=true",
         "CleanerWindowSeconds=1", "CompactorWindowSeconds=1"],
        settings,
        what="sam deploy",
        log=DEMO / "sam-deploy.log",
    )  # fmt: skip


def _describe(runs: StandIn) -> dict[str, Any]:
    stacks = client("cloudformation", runs.endpoint).describe_stacks(StackName=STACK_NAME)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    # https://<id>.lambda-url.<region>.on.aws/ is not ours to resolve; the stand-in takes the id in the path as well.
    url_id = outputs["IngestUrl"].split("//", 1)[1].split(".", 1)[0]
    return {
        "endpoint": runs.endpoint,
        "region": REGION,
        "ingest_url": f"{runs.endpoint}/_aws/lambda-url/{url_id}",
        "stream": outputs["StreamName"],
        "bucket": outputs["BucketName"],
        "lake": outputs["Lake"],
        "results_table": outputs["ResultsTable"],
        "queue": outputs["QueueUrl"],
        "functions": {name: outputs[f"{name.capitalize()}Function"] for name in _FUNCTIONS},
    }


def _write(described: dict[str, Any]) -> None:
    """Writes stack.json at once, never half."""
    new = STACK_JSON.with_suffix(".new")
    new.write_text(json.dumps(described, indent=2) + "\n")
    os.replace(new, STACK_JSON)
