"""Section update: 100,000 later records spread over a table of orders, beside MERGE of delta-rs and of DuckLake.

Each contender has the orders in a table of its own. A run changes a copy of it.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from bench import measure, report
from bench.load import empty_folder
from bench.measure import Contender, Run
from bench.places import PEERS, ROOT, WORK, binary

UPDATES = 100_000
# DuckLake is an extension of an earlier DuckDB than that of the other sections.
_DUCKLAKE_PYTHON = ROOT / ".venv-ducklake" / "bin" / "python"
_CONTRACT = """name = "order"
version = 1
identity = ["id"]
keep = { latest_by = ["at"] }

[[column]]
name = "id"
type = "int64"
required = true

[[column]]
name = "at"
type = "int64"

[[column]]
name = "state"
type = "string"

[[column]]
name = "amount"
type = "float64"

[[column]]
name = "city"
type = "string"
"""
_ORDERS = """
SELECT {id} AS id, {at} + hash(n) % 1000000 AS at,
    ['created', 'paid', 'packed', 'sent', 'delivered'][1 + CAST(hash(n + {at}) % 5 AS INTEGER)] AS state,
    (hash(n + 1) % 1000000) / 100 AS amount,
    ['Accra', 'Bergen', 'Cusco', 'Dakar', 'Esbjerg', 'Fes', 'Graz', 'Hobart'][1 + CAST(hash(n + 2) % 8 AS INTEGER)]
        AS city
FROM range({count}) AS numbers(n)
"""


def write_orders(path: Path, count: int, step: int, at: int) -> Path:
    """Writes a file of `count` orders, every `step`-th, with times from `at`. It is kept for the next run."""
    import duckdb

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # In another sequence than the orders came in.
        order = "ORDER BY hash(n + 3)" if step > 1 else ""
        query = _ORDERS.format(id=f"n * {step} + hash(n) % {step}", at=at, count=count)
        duckdb.sql(f"COPY ({query}{order}) TO '{path.with_suffix('.part')}' (FORMAT json)")
        path.with_suffix(".part").rename(path)
    return path


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Table:
    """A contender's table of orders, and the copy that a run changes."""

    def __init__(self, name: str, rows: int, create: list[str | Path], update: list[str | Path]) -> None:
        """`create` and `update` are commands to which the folder and the file of orders are added."""
        self.name = name
        self.kept = WORK / f"orders-{rows}-{name}"
        self.copy = self.kept.with_name(f"{self.kept.name}-now")
        self.create, self.update = create, update

    def prepare(self, orders: Path) -> bool:
        """Creates the table, once. Whether the contender can run on this machine."""
        done = self.kept / "complete"
        if not done.exists():
            command = [str(part) for part in [*self.create, empty_folder(self.kept), orders]]
            created = subprocess.run(command, stdout=subprocess.DEVNULL)
            if created.returncode == measure.CANNOT_RUN:
                return False
            created.check_returncode()
            done.touch()
        return True

    def contender(self, updates: Path) -> Contender:
        """The update of a fresh copy."""
        return Contender(self.name, [*self.update, self.copy, updates], self.copy_table)

    def copy_table(self) -> None:
        """Makes the copy as the table was before the update."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.kept, self.copy)

    def written_bytes(self) -> int:
        """What an update of a fresh copy adds: all contenders keep the files of the version before."""
        return folder_bytes(self.copy) - folder_bytes(self.kept)


def run(rows: int, runs: int) -> None:
    """Measures the update of a table of `rows` orders and prints the table."""
    contract = WORK / "order-contract"
    contract.mkdir(parents=True, exist_ok=True)
    (contract / "order.toml").write_text(_CONTRACT)
    orders = write_orders(WORK / f"orders-{rows}.ndjson", rows, 1, 1_600_000_000_000)
    updates = write_orders(WORK / f"orders-{rows}-later.ndjson", UPDATES, rows // UPDATES, 1_700_000_000_000)
    load = [binary("pinlake"), "load", "--datasets", contract, "--dataset", "order", "--lake"]
    delta = [sys.executable, PEERS / "deltalake_update.py"]
    ducklake = [_DUCKLAKE_PYTHON, PEERS / "ducklake_update.py"]
    tables = [
        Table("pinlake", rows, load, load),
        Table("deltalake", rows, [*delta, "create"], [*delta, "update"]),
        Table("ducklake", rows, [*ducklake, "create"], [*ducklake, "update"]),
    ]
    tables = [table for table in tables if table.prepare(orders)]
    print(f"## update: {UPDATES:,} later records spread over {rows:,} orders\n")
    results = measure.run_in_turns([table.contender(updates) for table in tables], runs)
    check_summaries(results["pinlake"])
    print(report.format_comparison("pinlake", results))
    print()
    sizes = {table.name: (folder_bytes(table.kept), table.written_bytes()) for table in tables}
    cells = [[name, f"{table / 1e6:.1f}", f"{written / 1e6:.1f}"] for name, (table, written) in sizes.items()]
    print(report.format_table(["", "MB of the table", "MB written"], cells))
    figures = {
        "runs": measure.runs_as_json(results),
        "bytes": {name: {"table": table, "written": written} for name, (table, written) in sizes.items()},
    }
    report.save("update", {"orders": rows, "updates": UPDATES, "runs": runs}, figures)


def check_summaries(runs: list[Run]) -> None:
    """Exits if an update did not supersede every row: its time would mean nothing."""
    for outcome in runs:
        summary = json.loads(outcome.stdout)
        if (summary["superseded"], summary["quarantined"]) != (UPDATES, 0):
            sys.exit(f"pinlake load printed {summary}, expected {UPDATES} superseded rows and none quarantined")
