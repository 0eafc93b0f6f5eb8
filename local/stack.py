"""Builds the functions, deploys template.yaml to the stand-in, and writes the addresses to stack.json."""

import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local import stand_in
from local.console import Failure, run, say
from local.places import (
    FUNCTIONS_ENV,
    REGION,
    ROOT,
    STACK_JSON,
    STACK_NAME,
    STATE,
    VENV_BIN,
    architecture,
    environment,
    function_url,
    rust_target,
)
from local.stand_in import StandIn

_BUILD = STATE / "build"
_CONFIG = STATE / "samconfig.yaml"
_LOG = STATE / "deploy.log"
_FUNCTIONS = ("ingest", "cleaner", "compactor", "analysis", "report")


def up(keeping: bool = False, programs: Path | None = None) -> dict[str, Any]:
    """Starts the stack, or updates a running one, and returns the contents of stack.json. ``keeping``: its data
    survives a restart of the stand-in. ``programs``: deploys the functions of this folder instead of building them."""
    STATE.mkdir(parents=True, exist_ok=True)
    runs = stand_in.start(keeping)
    settings = environment(runs.endpoint)
    _configure()
    if programs:
        _pack(programs)
        _deploy(settings)
    else:
        _make_deploy(settings)
    described = describe(runs)
    _write(STACK_JSON, json.dumps(described, indent=2) + "\n")
    _write(FUNCTIONS_ENV, _functions_environment(described))
    say(f"the stack is up: {STACK_JSON.relative_to(ROOT)} has its addresses; ingest is at {described['ingest_url']}")
    return described


def client(service: str, endpoint: str, region: str = REGION, **timeouts: int) -> Any:
    """A boto3 client of the stand-in, which uses no proxy."""
    session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)
    return session.client(
        service, endpoint_url=endpoint, config=Config(proxies={}, retries={"total_max_attempts": 1}, **timeouts)
    )


def quick(settings: dict[str, str]) -> dict[str, str]:
    """The environment in which `make deploy` uses the profile, target and features of `make build`."""
    # The new make must not take part in the job server of a make that started this.
    ours = {name: value for name, value in settings.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return ours | {
        "SAM_BUILD_MODE": "debug",
        # Not zig, which is for cross-compiling.
        "CARGO_LAMBDA_COMPILER": "cargo",
        # Otherwise cargo selects the features of shared dependencies for each function, and builds them again.
        "CARGO_LAMBDA_COMPILER_EXTRA_ARGS": "--workspace",
        "PYTHONPATH": str(ROOT / "local" / "quick"),
    }


def _make_deploy(settings: dict[str, str]) -> None:
    """Runs `make deploy` so that nothing is compiled again."""
    say("make deploy: template.yaml to the stand-in")
    run(
        [
            "make",
            "-C",
            ROOT,
            "deploy",
            "CONFIRM=no",
            f"REGION={REGION}",
            f"SAMCONFIG={_CONFIG}",
            f"DEPLOY_DIR={_BUILD}",
        ],
        quick(settings),
        what="make deploy",
        log=_LOG,
    )


def _configure() -> None:
    """Writes samconfig.toml with the parameters for this machine, as JSON, which SAM reads as YAML."""
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    for command in config["default"].values():
        for own in ("profile", "region"):
            command["parameters"].pop(own, None)
    config["default"]["deploy"]["parameters"]["stack_name"] = STACK_NAME
    config["default"]["global"] = {"parameters": {"parameter_overrides": [
        f"Architecture={architecture()}", "AnonymousIngest=true", "IngestReads=true", "AnonymousReport=true",
        "CleanerWindowSeconds=1", "CompactorWindowSeconds=1",
        # Tests send their own.
        "Canary=false",
    ]}}  # fmt: skip
    _write(_CONFIG, json.dumps(config, indent=2) + "\n")


def _pack(programs: Path) -> None:
    """Creates the output of `sam build` from programs that are already built, for example in another profile."""
    say(f"packaging the functions of {programs}")
    template = (ROOT / "template.yaml").read_text()
    for name in _FUNCTIONS:
        folder = _BUILD / name.capitalize()
        folder.mkdir(parents=True, exist_ok=True)
        if not (programs / name).exists():
            raise Failure(f"there is no {programs / name}", 2)
        shutil.copy2(programs / name, folder / "bootstrap")
        template = template.replace(f"CodeUri: functions/{name}\n", f"CodeUri: {name.capitalize()}\n")
    _write(_BUILD / "template.yaml", template)


def _deploy(settings: dict[str, str]) -> None:
    say("sam deploy: template.yaml to the stand-in")
    run(
        [VENV_BIN / "sam", "deploy", "--template-file", _BUILD / "template.yaml", "--config-file", _CONFIG,
         "--no-confirm-changeset"],
        settings,
        what="sam deploy",
        log=_LOG,
    )  # fmt: skip


def describe(runs: StandIn, name: str = STACK_NAME, region: str = REGION) -> dict[str, Any]:
    """The contents of stack.json for a stack that is deployed."""
    stacks = client("cloudformation", runs.endpoint, region).describe_stacks(StackName=name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stacks[0]["Outputs"]}
    return {
        "endpoint": runs.endpoint,
        "region": region,
        "ingest_url": function_url(runs.endpoint, outputs["IngestUrl"]),
        # The links of the page are relative to it.
        "report_url": function_url(runs.endpoint, outputs["ReportUrl"]) + "/",
        "stream": outputs["StreamName"],
        "bucket": outputs["BucketName"],
        "lake": outputs["Lake"],
        "results_table": outputs["ResultsTable"],
        "queue": outputs["QueueUrl"],
        "dead_letters": outputs["DeadLettersUrl"],
        "functions": {name: outputs[f"{name.capitalize()}Function"] for name in _FUNCTIONS},
    }


def _functions_environment(described: dict[str, Any]) -> str:
    """Environment variables of functions that `cargo lambda watch` runs beside the stack, one NAME=value per line.

    Their lake is a prefix of the stack's bucket that the deployed functions do not read, because the sample events have
    invented sequence numbers and rows.
    """
    ours = environment(described["endpoint"])
    kept = {name: ours[name] for name in ours if name.startswith("AWS_") or name.lower() == "no_proxy"}
    settings = kept | {
        "CARGO_BUILD_TARGET": rust_target(),
        "PINLAKE_LAKE": f"{described['lake']}/watch",
        "PINLAKE_STREAM": described["stream"],
        "PINLAKE_QUEUE_URL": described["queue"],
        "PINLAKE_RESULTS_TABLE": described["results_table"],
        "PINLAKE_ANONYMOUS": "true",
        "PINLAKE_READS": "true",
        "RUST_LOG": "info,delta_kernel=warn",
    }
    return "".join(f"{name}='{value}'\n" for name, value in settings.items())


def _write(path: Path, text: str) -> None:
    """Replaces a file atomically."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)
