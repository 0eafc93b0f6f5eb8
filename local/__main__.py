"""The command line: ``python -m local up|down|demo|chaos|airflow``."""

import argparse
import sys
from pathlib import Path

from local import airflow, demo, stack, stand_in
from local.console import Failure, say
from local.places import forget_settings


def main() -> int:
    """Runs one command; its exit code is 0, or that of the program that failed, or 1."""
    parser = argparse.ArgumentParser(prog="python -m local", description="pinlake on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start the stand-in, build, deploy, write target/demo/stack.json")
    up_parser.add_argument("--programs", type=Path, help="a folder with the functions, built already")
    commands.add_parser("down", help="stop what up started")
    demo_parser = commands.add_parser("demo", help="up, then from input to answers")
    demo_parser.add_argument("--input", type=Path, help="a folder with pin.ndjson, geo.ndjson, user.ndjson")
    commands.add_parser("airflow", help="the DAG of airflow/dags in a real Airflow, on a stack of its own")
    chaos_parser = commands.add_parser("chaos", help="a stack of its own whose parts fail, and whether a row is lost")
    chaos_parser.add_argument("--seed", type=int, default=1, help="what strikes")
    chaos_parser.add_argument("--seconds", type=int, default=120, help="how long things fail")
    chaos_parser.add_argument("--harm", action="store_true", help="remove a landing object as well: has to be noticed")
    arguments = parser.parse_args()
    forget_settings()
    try:
        match arguments.command:
            case "up":
                stack.up(programs=arguments.programs)
            case "down":
                stand_in.stop()
            case "demo":
                demo.run(arguments.input)
            case "airflow":
                airflow.run()
            case "chaos":
                # Only here: it reads tables with what only the stand-in's environment has.
                from local.chaos import run

                return run.run(arguments.seed, arguments.seconds, arguments.harm)
    except Failure as failure:
        say(f"FAILED: {failure}")
        return failure.exit_code
    except KeyboardInterrupt:
        say("interrupted; 'make down' stops the stand-in")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
