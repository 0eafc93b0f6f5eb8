"""Runs sections of the benchmark: python -m bench SECTION... (`make bench` calls this)."""

import argparse

from bench import (
    analyse,
    cleaning,
    cold_start,
    compactors,
    drain,
    freshness,
    growth,
    handlers,
    ingest,
    insert,
    lakes,
    load,
    machine,
    scale,
    update,
)

SECTIONS = [
    "load",
    "analyse",
    "cleaning",
    "insert",
    "update",
    "growth",
    "cold-start",
    "handlers",
    "ingest",
    "freshness",
    "drain",
    "compactors",
    "scale",
]


def main() -> None:
    """Runs the sections of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="+", choices=SECTIONS)
    parser.add_argument("--rows", type=int, nargs="+", default=[300_000, 1_000_000], help="posts to load and analyse")
    parser.add_argument(
        "--posts",
        type=int,
        nargs="+",
        default=[1_000_000, 3_000_000, 10_000_000],
        help="sizes in posts of the lakes of the section growth",
    )
    parser.add_argument(
        "--tables",
        type=int,
        nargs="+",
        default=[1_000_000, 10_000_000, 100_000_000],
        help="sizes in rows of the tables of the section insert",
    )
    parser.add_argument("--orders", type=int, default=10_000_000, help="rows of the table of the section update")
    parser.add_argument("--objects", type=int, default=100_000, help="landing objects to drain from a folder")
    # Fewer than in a folder: each takes a request of 20 ms.
    parser.add_argument("--in-bucket", type=int, default=10_000, help="landing objects to drain from a bucket")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each contender, after a warm-up run")
    parser.add_argument(
        "--peers", nargs="*", default=list(load.PEER_NAMES), choices=load.PEER_NAMES, help="programs to compare with"
    )
    parser.add_argument(
        "--seconds", type=int, default=120, help="seconds for which the section freshness sends records"
    )
    parser.add_argument(
        "--lakes",
        nargs="+",
        default=list(lakes.KINDS),
        choices=lakes.KINDS,
        help="kinds of lakes for the sections drain and compactors",
    )
    arguments = parser.parse_args()
    description = machine.describe()
    print("# " + ", ".join(f"{name} {value}" for name, value in description.items()) + "\n")
    for section in arguments.sections:
        match section:
            case "load":
                for rows in arguments.rows:
                    load.run(rows, arguments.runs, arguments.peers)
            case "analyse":
                for rows in arguments.rows:
                    analyse.run(rows, arguments.runs, arguments.peers)
            case "cleaning":
                cleaning.run(min(arguments.rows), arguments.runs)
            case "insert":
                insert.run(arguments.tables, arguments.runs)
            case "update":
                update.run(arguments.orders, arguments.runs)
            case "growth":
                growth.run(arguments.posts, min(arguments.runs, 3))
            case "cold-start":
                cold_start.run(arguments.runs)
            case "handlers":
                handlers.run(min(arguments.rows), arguments.runs)
            case "drain":
                drain.run(arguments.objects, arguments.in_bucket, arguments.lakes)
            case "compactors":
                compactors.run(min(arguments.runs, 3), arguments.lakes)
            case "ingest":
                ingest.run()
            case "freshness":
                freshness.run(arguments.seconds)
            case "scale":
                scale.run()


if __name__ == "__main__":
    main()
