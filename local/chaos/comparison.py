"""Compares tables with acknowledgements.

tests/oracle/answers.py, which does not use pinlake, calculates the expected rows from the posted lines: every distinct
clean row of an acknowledged line is in its table once, and every distinct invalid one is in quarantine once,
unresolved. Rows of lines that were sent but not acknowledged may be there, once. There are no other rows.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from local.chaos import tables
from local.chaos.clients import DATASETS, Sent
from tests.oracle import answers

QUARANTINE = "quarantine"
_SHOWN = 3

Rows = dict[str, set[Any]]


@dataclass
class Expected:
    """The required and the possible rows of each table."""

    required: Rows
    possible: Rows


def expected(sent: Iterable[Sent]) -> Expected:
    """Calculates the expected rows from the posted files and the number of acknowledged rows of each."""
    required: Rows = {name: set() for name in (*DATASETS, QUARANTINE)}
    possible: Rows = {name: set() for name in (*DATASETS, QUARANTINE)}
    for part in sent:
        for dataset in DATASETS:
            lines = (part.folder / f"{dataset}.ndjson").read_bytes().split(b"\n")
            for at, line in enumerate(line for line in lines if line.strip()):
                try:
                    table, row = dataset, answers.cleaned(dataset, line)
                except answers.Rejected:
                    table, row = QUARANTINE, (dataset, _same(line))
                possible[table].add(row)
                if at < part.acknowledged[dataset]:
                    required[table].add(row)
    return Expected(required, possible)


def _same(line: bytes) -> str:
    """A record as normalized JSON, because ingest stores it without spaces and escapes. Numbers keep their digits."""
    parsed = json.loads(line, parse_float=lambda text: ("number", text), parse_int=lambda text: ("number", text))
    return json.dumps(parsed)


def compare(lake: Path, wanted: Expected) -> tuple[list[str], dict[str, int]]:
    """The violations in a copy of the lake, and the number of rows of each table."""
    violations: list[str] = []
    counts: dict[str, int] = {}
    for name in (*DATASETS, QUARANTINE):
        folder = lake / "tables" / name
        if not folder.exists():
            if wanted.required[name]:
                violations.append(f"{name}: there is no table, but {len(wanted.required[name])} acknowledged rows")
            continue
        table = tables.read(folder)
        violations += [f"{name}: {complaint}" for complaint in table.complaints]
        rows = _unresolved(table) if name == QUARANTINE else table.rows
        counts[name] = len(rows)
        found = Counter(rows)
        for what, wrong in (
            ("acknowledged but missing", wanted.required[name] - found.keys()),
            ("there more than once", {row for row, times in found.items() if times > 1}),
            ("there but were not sent", found.keys() - wanted.possible[name]),
        ):
            if wrong:
                some = "; ".join(repr(row)[:200] for row in list(wrong)[:_SHOWN])
                violations.append(f"{name}: {len(wrong)} rows are {what}, such as {some}")
    return violations, counts


def _unresolved(table: tables.Table) -> list[Any]:
    at = {name: place for place, name in enumerate(table.columns)}
    return [(row[at["dataset"]], _same(row[at["raw"]])) for row in table.rows if row[at["resolved_at"]] is None]


# ---- damage that the comparison must detect ------------------------------------------------------------------


def _entry(table: Path, actions: list[dict[str, Any]]) -> None:
    """Writes a log entry for the next version."""
    version = len(list((table / "_delta_log").glob("*.json")))
    lines = "".join(json.dumps(action) + "\n" for action in actions)
    (table / "_delta_log" / f"{version:020}.json").write_text(lines)


def _largest(table: Path) -> tuple[str, dict[str, Any]]:
    files = tables.read(table).files
    return max(files.items(), key=lambda file: json.loads(file[1]["stats"])["numRecords"])


def _lose_file(table: Path) -> None:
    (table / _largest(table)[0]).unlink()


def _lose_commit(table: Path) -> None:
    path, _ = _largest(table)
    _entry(table, [{"remove": {"path": path, "dataChange": True, "deletionTimestamp": 0}}])


def _insert_twice(table: Path) -> None:
    path, add = _largest(table)
    shutil.copy(table / path, table / "again.parquet")
    _entry(table, [{"add": add | {"path": "again.parquet"}}])


def _rewrite(table: Path, select: str, less: int) -> None:
    path, add = _largest(table)
    rows = json.loads(add["stats"])["numRecords"] - less
    with duckdb.connect() as engine:
        engine.execute(f"COPY (SELECT {select}) TO '{table}/other.parquet'".replace("FILE", f"'{table / path}'"))
    stats = json.dumps({"numRecords": rows})
    _entry(
        table,
        [{"remove": {"path": path, "dataChange": True}}, {"add": add | {"path": "other.parquet", "stats": stats}}],
    )


def _lose_row(table: Path) -> None:
    _rewrite(table, "* FROM read_parquet(FILE) OFFSET 1", less=1)


def _alter_row(table: Path) -> None:
    first = "ind = (SELECT min(ind) FROM read_parquet(FILE))"
    _rewrite(table, f"* REPLACE (CASE WHEN {first} THEN -ind - 1 ELSE ind END AS ind) FROM read_parquet(FILE)", less=0)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "a data file is deleted": _lose_file,
    "a commit is reverted": _lose_commit,
    "a file is inserted twice": _insert_twice,
    "one row of a file is lost": _lose_row,
    "one row of a file is altered": _alter_row,
}


def find_missed(lake: Path, scratch: Path, wanted: Expected) -> list[str]:
    """Damages copies of the lake, each in one way. Returns the kinds of damage that :func:`compare` did not detect."""
    unnoticed = []
    for what, damage in DAMAGE.items():
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(lake, scratch)
        damage(scratch / "tables" / DATASETS[1])
        if not compare(scratch, wanted)[0]:
            unnoticed.append(what)
    shutil.rmtree(scratch, ignore_errors=True)
    return unnoticed
