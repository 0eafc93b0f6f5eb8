"""A section of samconfig.toml, as SAM reads it."""

from dataclasses import dataclass
from pathlib import Path

import click
from samcli.cli.types import CfnParameterOverridesType
from samcli.lib.config.exceptions import SamConfigFileReadException, SamConfigVersionException
from samcli.lib.config.samconfig import SamConfig

from local.console import Failure


@dataclass(frozen=True)
class Settings:
    """What `sam build` and `sam deploy` take from a section."""

    file: Path
    environment: str
    #: Name of the stack; empty if the section has none.
    stack: str
    region: str | None
    profile: str | None
    #: The role with which CloudFormation creates the resources, if it is not the deployer's own.
    role: str | None
    #: Parameters of template.yaml, for `sam deploy`.
    overrides: dict[str, str]
    #: The same for `sam build`, which reads only the architecture.
    build_overrides: dict[str, str]


def read_settings(file: Path, environment: str) -> Settings:
    """Reads a section. Raises Failure with exit code 2 if the file or the section cannot be used."""
    if not file.is_file():
        raise Failure(f"there is no file {file}; name another: SAMCONFIG=FILE", 2)
    try:
        config = SamConfig(file.parent, file.name)
        known = config.get_stage_configuration_names()
        if environment not in known:
            raise Failure(f"{file} has no section {environment}; it has {', '.join(known) or 'none'}", 2)
        given = {command: config.get_all([command], "parameters", environment) for command in ("build", "deploy")}
        overrides = {command: _parse_overrides(file, found) for command, found in given.items()}
    except (SamConfigFileReadException, SamConfigVersionException, ValueError) as error:
        # SAM's errors have another error instead of a text.
        raise Failure(f"{file} cannot be read: {error.args[0] if error.args else type(error).__name__}", 2) from error
    deploy = given["deploy"]
    return Settings(
        file=file,
        environment=environment,
        stack=str(deploy.get("stack_name") or ""),
        region=deploy.get("region"),
        profile=deploy.get("profile"),
        role=deploy.get("role_arn"),
        overrides=overrides["deploy"],
        build_overrides=overrides["build"],
    )


def _parse_overrides(file: Path, parameters: dict[str, object]) -> dict[str, str]:
    try:
        found = CfnParameterOverridesType().convert(parameters.get("parameter_overrides"), None, None)
    except click.BadParameter as error:
        raise Failure(f"{file}: parameter_overrides: {error.message}", 2) from error
    return {name: str(value) for name, value in found.items()}
