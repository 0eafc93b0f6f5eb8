"""Files, addresses and the environment of child processes."""

import os
import platform
from pathlib import Path

from local.console import Failure

ROOT = Path(__file__).resolve().parent.parent
VENV_BIN = ROOT / ".venv" / "bin"
# The files of a stack. The tests use their own folder, so that their rows are not in the results of the demo.
STATE = ROOT / "target" / os.environ.get("PINLAKE_STATE", "demo")
STACK_JSON = STATE / "stack.json"
FUNCTIONS_ENV = STATE / "functions.env"

HOST = "127.0.0.1"
REGION = "us-east-1"
STACK_NAME = "pinlake"

# Settings of the user for AWS, its tools and pinlake. They are removed, so that no command uses an AWS account instead
# of the stand-in, and the program uses the deployed contracts.
_FOREIGN = ("AWS_", "SAM_", "CARGO_LAMBDA_", "MINISTACK_", "LOCALSTACK_", "PINLAKE_")
_PORT = os.environ.get("PINLAKE_PORT", "4566")


def port() -> int:
    """The stand-in's port: PINLAKE_PORT, or 4566, the usual port of AWS stand-ins."""
    if not (_PORT.isdecimal() and 0 < int(_PORT) < 65536):
        raise Failure(f"PINLAKE_PORT is {_PORT!r}; give a port number, for example PINLAKE_PORT=4600", 2)
    return int(_PORT)


def architecture() -> str:
    """The architecture of this machine, as Lambda names it."""
    machine = platform.machine().lower()
    known = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
    if machine not in known:
        raise Failure(f"this machine's processor is {machine!r}; the functions build for x86_64 and arm64")
    return known[machine]


def rust_target() -> str:
    """The target triple that the Makefile builds for; the artefacts are in target/<triple>/debug."""
    triple = os.environ.get("CARGO_BUILD_TARGET")
    if not triple:
        raise Failure("CARGO_BUILD_TARGET is not set; run this through make", 2)
    return triple


def program() -> Path:
    """The pinlake program that `make build` builds."""
    return ROOT / "target" / rust_target() / "debug" / "pinlake"


def forget_settings() -> None:
    """Removes the user's settings from the environment: profile, credentials, endpoints, contracts."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def build_environment() -> dict[str, str]:
    """The environment of sam and maturin: finds cargo-lambda, and takes no part in the job server of make."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return kept | {"PATH": f"{VENV_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def environment(endpoint: str) -> dict[str, str]:
    """The environment of programs that connect to the stand-in at ``endpoint`` only."""
    not_proxied = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    no_proxy = ",".join(filter(None, [not_proxied, HOST, "localhost"]))
    return build_environment() | {
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(STATE / "sam"),
    }


def function_url(endpoint: str, published: str) -> str:
    """The URL of a function on the stand-in, for the one in the outputs of its stack.

    https://<id>.lambda-url.<region>.on.aws/ does not resolve to the stand-in, which also accepts the id in the path.
    """
    url_id = published.split("//", 1)[1].split(".", 1)[0]
    return f"{endpoint}/_aws/lambda-url/{url_id}"
