"""The command line: ``python -m local up|down|demo``."""

import argparse
import sys
from pathlib import Path

from local import demo, stack, stand_in
from local.console import Failure, say
from local.places import forget_settings


def main() -> int:
    """Runs one command; its exit code is 0, or that of the program that failed, or 1."""
    parser = argparse.ArgumentParser(prog="python -m local", description="pinlake on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start the stand-in, build, deploy, write target/demo/stack.json")
    commands.add_parser("down", help="stop what up started")
    demo_parser = commands.add_parser("demo", help="up, then from input to answers")
    demo_parser.add_argument("--input", type=Path, help="a folder with pin.ndjson, geo.ndjson, user.ndjson")
    arguments = parser.parse_args()
    forget_settings()
    try:
        match arguments.command:
            case "up":
                stack.up()
            case "down":
                stand_in.stop()
            case "demo":
                demo.run(arguments.input)
    except Failure as failure:
        say(f"FAILED: {failure}")
        return failure.exit_code
    except KeyboardInterrupt:
        say("interrupted; 'make down' stops the stand-in")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
