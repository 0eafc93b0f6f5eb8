"""Runs the query sets on Spark over the data files in the Delta logs, and compares the results with `pinlake analyse`:

    spark.py PINLAKE [LAKE]

LAKE is a folder. Without it the script creates a lake by several loads with duplicates, and adds a data file that no
commit names, as a conflicting commit leaves it. Prints one line per result. The exit code is 1 if a result differs, and
77 without Java.

The sets are `queries/` and each folder of `examples/notebook-queries/`. Each query file runs unchanged,
`<result>.spark.sql` if it exists. The files for Athena run too, because Spark supports their SQL.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "readers" / "spark"
sys.path.insert(0, str(ROOT / "bench" / "peers"))
from spark import session  # noqa: E402


def main() -> int:
    pinlake = Path(sys.argv[1])
    lake = Path(sys.argv[2]) if len(sys.argv) > 2 else made_lake(pinlake)
    different = 0
    with session() as spark:
        print(f"Spark {spark.version} over the files that the logs of {lake} name")
        for table in ("pin", "geo", "user"):
            named, version = data_files(lake / "tables" / table)
            there = len(list((lake / "tables" / table).glob("*.parquet")))
            spark.read.parquet(*map(str, named)).createOrReplaceTempView(table)
            print(f"  {table:<6} version {version}: {len(named)} files of {there} in the folder")
        print(f"\n{'file':<58} {'rows':>6}  same")
        for folder in (ROOT / "queries", *sorted((ROOT / "examples" / "notebook-queries").iterdir())):
            options = ("--queries", folder, "--format", "json")
            answers = json.loads(run(pinlake, "analyse", "--lake", lake, *options))
            print(folder.relative_to(ROOT))
            for file in query_files(folder):
                answer = answers[file.name.split(".")[0]]
                frame = spark.sql(file.read_text(encoding="utf-8"))
                rows = [list(row) for row in frame.collect()]
                same = frame.columns == answer["columns"] and equal(rows, answer["rows"])
                different += not same
                print(f"  {file.name:<56} {len(rows):>6}  {'yes' if same else 'NO'}")
                if not same:
                    print(f"  Spark   {frame.columns} {rows[:3]}\n  pinlake {answer['columns']} {answer['rows'][:3]}")
    return 1 if different else 0


def made_lake(pinlake: Path) -> Path:
    """Creates a lake whose tables have several versions."""
    shutil.rmtree(WORK, ignore_errors=True)
    for seed, rows in ((1, 4000), (2, 1500), (3, 2500)):
        folder = WORK / f"rows-{seed}"
        options = ("--duplicates", 0.2, "--dirty", 0.05, "--seed", seed)
        run(pinlake, "generate", "--out", folder, "--rows", rows, *options)
        run(pinlake, "load", "--lake", WORK / "lake", folder)
    for table in ("pin", "geo", "user"):
        named, _ = data_files(WORK / "lake" / "tables" / table)
        shutil.copy(named[0], named[0].with_name("part-of-no-commit.parquet"))
    return WORK / "lake"


def data_files(table: Path) -> tuple[list[Path], int]:
    """The data files of the newest version of a table, and the version. Needs a log with all its entries."""
    files: dict[str, None] = {}
    commits = sorted((table / "_delta_log").glob("*.json"))
    for commit in commits:
        for action in map(json.loads, commit.read_text(encoding="utf-8").splitlines()):
            if "add" in action:
                files[action["add"]["path"]] = None
            if "remove" in action:
                files.pop(action["remove"]["path"], None)
    return [table / unquote(path) for path in files], len(commits) - 1


def query_files(folder: Path) -> list[Path]:
    """The query files of a set for Spark, for all engines and for Athena."""
    files = sorted(folder.glob("*.sql"))
    own = {file.name.removesuffix(".spark.sql") for file in files if file.name.endswith(".spark.sql")}
    return [file for file in files if file.stem not in own]


def equal(ours: object, theirs: object) -> bool:
    """Whether the rows and their order are equal; floats up to rounding."""
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-12)
    return ours == theirs


def run(program: Path, *arguments: object) -> str:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
