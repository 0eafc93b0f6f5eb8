"""The command line: ``python -m local up|down|demo|chaos|airflow``."""

import argparse
import sys
from pathlib import Path

from local import airflow, demo, stack, stand_in
from local.console import Failure, say
from local.places import forget_settings


def main() -> int:
    """Runs one command. Returns 0, or the exit code of the program that failed, or 1."""
    parser = argparse.ArgumentParser(prog="python -m local", description="pinlake on this machine")
    commands = parser.add_subparsers(dest="command", required=True)
    up_parser = commands.add_parser("up", help="start the stand-in, build, deploy, write target/demo/stack.json")
    up_parser.add_argument("--programs", type=Path, help="a folder with functions that are already built")
    commands.add_parser("down", help="stop the stack of up or demo")
    demo_parser = commands.add_parser("demo", help="up, then the pipeline from input to results")
    demo_parser.add_argument("--input", type=Path, help="a folder with pin.ndjson, geo.ndjson, user.ndjson")
    commands.add_parser("airflow", help="run the DAG of airflow/dags in Airflow, on a stack of its own")
    chaos_parser = commands.add_parser("chaos", help="inject faults into a stack of its own and check the tables")
    chaos_parser.add_argument("--seed", type=int, default=1, help="seed of the faults")
    chaos_parser.add_argument("--seconds", type=int, default=120, help="duration of the faults")
    chaos_parser.add_argument("--harm", action="store_true", help="also remove a landing object; must be detected")
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
                # Imported late: it needs duckdb, which only the environment of the stand-in has.
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
