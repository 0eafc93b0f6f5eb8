"""The command line: ``python -m deploy doctor|run|smoke``. The Makefile has the same as targets."""

import argparse
import os
import sys
from pathlib import Path

from local.console import Failure, say


def main() -> int:
    """Runs one command. Returns 0, 1 for problems or a failure, 2 for wrong usage, or the code of a failed program."""
    parser = argparse.ArgumentParser(prog="python -m deploy", description="pinlake on AWS")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor_parser = commands.add_parser("doctor", help="check what a deployment needs; changes nothing")
    run_parser = commands.add_parser("run", help="build and deploy")
    for section in (doctor_parser, run_parser):
        section.add_argument("--samconfig", type=Path, default=Path("samconfig.toml"), help="SAM's settings")
        section.add_argument("--environment", default="default", help="a section of them")
        section.add_argument("--region", type=_given, help="default: that of the section or of the profile")
    run_parser.add_argument("--build-dir", type=Path, required=True, help="folder for the built functions")
    run_parser.add_argument("--no-confirm", action="store_true", help="do not ask before the change set is executed")
    run_parser.add_argument("--no-execute", action="store_true", help="create the change set only")
    smoke_parser = commands.add_parser("smoke", help="post marked records to a deployed stack and find them")
    smoke_parser.add_argument("--stack", required=True, help="name of the stack")
    smoke_parser.add_argument("--region", type=_given, help="default: that of the profile")
    smoke_parser.add_argument("--url", type=_given, help="URL of ingest, if not that in the stack's outputs")
    smoke_parser.add_argument("--dataset", default="pinlake_canary", help="the dataset of the records")
    smoke_parser.add_argument("--record", type=_file, help="a JSON file with a record of it")
    smoke_parser.add_argument("--column", type=_given, help="the column with the mark, if not the field's name")
    smoke_parser.add_argument("--contracts", type=_file, help="folder of the stack's own contracts")
    smoke_parser.add_argument("--seconds", type=int, help="time limit; default: by the stack's windows")
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except Failure as failure:
        say(f"FAILED: {failure}")
        return failure.exit_code
    except KeyboardInterrupt:
        return 130


def _given(text: str) -> str | None:
    """Make passes empty texts for what is not set."""
    return text or None


def _file(text: str) -> Path | None:
    return Path(text) if text else None


def _run(arguments: argparse.Namespace) -> int:
    # Imported late: each needs a second, and deploy is not slowed down by the others.
    match arguments.command:
        case "doctor":
            from deploy import doctor

            return doctor.run(arguments.samconfig, arguments.environment, arguments.region)
        case "run":
            from deploy import run

            run.deploy(
                run.Deployment(
                    file=arguments.samconfig,
                    environment=arguments.environment,
                    region=arguments.region,
                    build_dir=arguments.build_dir,
                    is_confirmed=not arguments.no_confirm,
                    is_executed=not arguments.no_execute,
                )
            )
        case "smoke":
            from deploy import smoke

            return smoke.run(
                smoke.Plan(
                    stack=arguments.stack,
                    region=arguments.region,
                    url=arguments.url,
                    dataset=arguments.dataset,
                    record=arguments.record,
                    column=arguments.column,
                    contracts=arguments.contracts,
                    seconds=arguments.seconds,
                    key=os.environ.get("PINLAKE_API_KEY"),
                )
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
