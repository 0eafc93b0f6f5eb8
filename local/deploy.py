"""`make deploy` to a stand-in that runs: the recipe, samconfig.toml's settings, and a second deployment over the first.

In the quick profile, which packs what `make build` has compiled. Its stack is another one, and is gone at the end.
"""

import subprocess
import time
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local import stand_in
from local.console import Failure, run, say
from local.places import ROOT, STATE, architecture, environment
from local.stack import FUNCTIONS, client, quick_build

_WORK = STATE / "deploy"
_STACK = "pinlake-deployed"
_DELETE_SECONDS = 60
_SHARDS = 2


def check() -> None:
    """Raises Failure when the documented command does not deploy what it was told."""
    runs = stand_in.running()
    if not runs:
        raise Failure("no local AWS stand-in of this checkout runs; bring one up first", 2)
    begun = time.monotonic()
    _WORK.mkdir(parents=True, exist_ok=True)
    _refuse_what_would_wait(runs.endpoint)
    cloudformation = client("cloudformation", runs.endpoint)
    try:
        _deploy(runs.endpoint, AnalysisEngine="lambda")
        _look(runs.endpoint, "CREATE_COMPLETE", athena="")
        # As a release, or the one before it, goes over what is there; the settings are those of docs/readers.md.
        _deploy(runs.endpoint, AnalysisEngine="athena", GlueDatabase="deployed")
        _look(runs.endpoint, "UPDATE_COMPLETE", athena="deployed")
    finally:
        cloudformation.delete_stack(StackName=_STACK)
        _wait_until_gone(cloudformation)
    say(f"make deploy made a stack, changed it, and ran its functions, in {time.monotonic() - begun:.0f} s")


def _refuse_what_would_wait(endpoint: str) -> None:
    """Before anything is built: a question that nobody answers, and a place that nobody named."""
    settings = _settings(endpoint)
    _refused(settings, [], "make deploy CONFIRM=no")
    nowhere = {name: value for name, value in settings.items() if name not in ("AWS_REGION", "AWS_DEFAULT_REGION")}
    _refused(nowhere, ["CONFIRM=no"], "make deploy REGION=")


def _refused(settings: dict[str, str], options: list[str], advice: str) -> None:
    done = subprocess.run(
        ["make", "deploy", *options],
        cwd=ROOT,
        env=settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0 or advice not in done.stderr or "deploying to" in done.stderr:
        raise Failure(f"make deploy {' '.join(options)} was to stop with `{advice}`; it said: {done.stderr}")


def _settings(endpoint: str) -> dict[str, str]:
    """As in a shell of the user's, not in the `make` that may have started this."""
    ours = environment(endpoint) | quick_build()
    return {name: value for name, value in ours.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}


def _deploy(endpoint: str, **parameters: str) -> None:
    """Deploys with these parameters, written where samconfig.toml says that they go."""
    parameters |= {"Architecture": architecture(), "ShardCount": str(_SHARDS)}
    overrides = ", ".join(f'"{name}={value}"' for name, value in parameters.items())
    config = (ROOT / "samconfig.toml").read_text()
    for said, changed in (
        (
            '[default.deploy.parameters]\nstack_name = "pinlake"',
            f'[default.deploy.parameters]\nstack_name = "{_STACK}"',
        ),
        ("# [default.global.parameters]", "[default.global.parameters]"),
        ('# parameter_overrides = ["Architecture=x86_64", "ShardCount=4"]', f"parameter_overrides = [{overrides}]"),
    ):
        if said not in config:
            raise Failure(f"samconfig.toml has no {said!r}, which this test changes")
        config = config.replace(said, changed)
    path = _WORK / "samconfig.toml"
    path.write_text(config)
    say(f"make deploy: {overrides}")
    run(
        ["make", "deploy", "CONFIRM=no", f"CONFIG={path}", f"DEPLOY_DIR={_WORK / 'build'}"],
        _settings(endpoint),
        what="make deploy",
        log=_WORK / "make-deploy.log",
    )


def _look(endpoint: str, status: str, athena: str) -> None:
    """What CloudFormation has made: with the parameters, and of programs, which run."""
    stack = client("cloudformation", endpoint).describe_stacks(StackName=_STACK)["Stacks"][0]
    _same("the stack's status", stack["StackStatus"], status)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    stream = client("kinesis", endpoint).describe_stream_summary(StreamName=outputs["StreamName"])
    _same("ShardCount", stream["StreamDescriptionSummary"]["OpenShardCount"], _SHARDS)
    functions = client("lambda", endpoint, read_timeout=60)
    found: dict[str, Any] = {}
    for name in FUNCTIONS:
        found = functions.get_function_configuration(FunctionName=outputs[f"{name.capitalize()}Function"])
        _same(f"the architecture of {name}", found["Architectures"], [architecture()])
        program = _WORK / "build" / name.capitalize() / "bootstrap"
        _same(f"what {name} is built to", _is_program(program), True)
    _same("analysis' database", found["Environment"]["Variables"].get("PINLAKE_ATHENA_DATABASE", ""), athena)
    # A folder of sources would not answer.
    answer = functions.invoke(FunctionName=outputs["CompactorFunction"], Payload=b'{"Records":[]}')
    _same(
        "what the compactor answers", (answer.get("FunctionError"), answer["Payload"].read()), (None, _NOTHING_FAILED)
    )


_NOTHING_FAILED = b'{"batchItemFailures":[]}'


def _is_program(path: Path) -> bool:
    """Whether a file is a program for Linux."""
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failure(f"make deploy: {what} is {found!r}, not {wanted!r}")


def _wait_until_gone(cloudformation: Any) -> None:
    deadline = time.monotonic() + _DELETE_SECONDS
    while time.monotonic() < deadline:
        try:
            stacks = cloudformation.describe_stacks(StackName=_STACK)["Stacks"]
        except ClientError:
            return
        if not stacks or stacks[0]["StackStatus"] == "DELETE_COMPLETE":
            return
        time.sleep(0.2)
    raise Failure(f"the stack {_STACK} is still there {_DELETE_SECONDS} s after it was to be deleted")
