"""Changes pinlake's tables with delta-rs, one step at a time: steps.py PINLAKE FOLDER"""

import datetime
import json
import subprocess
import sys
from pathlib import Path

from deltalake import DeltaTable, QueryBuilder, write_deltalake

PINLAKE, FOLDER = sys.argv[1], Path(sys.argv[2])

CONTRACT = """
name = "visit"
version = 1
identity = ["id"]
{partition_by}
[route]
shape = ["id", "place"]
[[column]]
name = "id"
type = "int64"
required = true
[[column]]
name = "day"
type = "date"
[[column]]
name = "place"
type = "string"
null = [""]
[[column]]
name = "at"
type = "timestamp"
"""
DAYS = [datetime.date(2024, 1, day) for day in (1, 2, 3)]
AT = datetime.datetime(2024, 1, 1, 12, 0, 0, 1, tzinfo=datetime.UTC)
PLACES = ["Chile", "a/b %é=:", None]


def record(number):
    day = DAYS[number % 3] if number % 7 else None
    return {"id": number, "day": day, "place": PLACES[number % 3], "at": AT}


def as_table(records):
    """The records as delta-rs's own engine makes them, because its Python package builds no dates."""

    def cells(row):
        day = f"DATE '{row['day']}'" if row["day"] else "CAST(NULL AS DATE)"
        place = f"'{row['place']}'" if row["place"] else "CAST(NULL AS VARCHAR)"
        at = f"arrow_cast('{row['at'].isoformat()}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
        return f"SELECT CAST({row['id']} AS BIGINT) AS id, {day} AS day, {place} AS place, {at} AS at"

    return QueryBuilder().execute(" UNION ALL ".join(map(cells, records))).read_all()


def append(table, records):
    write_deltalake(str(table), as_table(records), mode="append")


def merge(table, records):
    (
        DeltaTable(str(table))
        .merge(as_table(records), "own.id = new.id", source_alias="new", target_alias="own")
        .when_matched_update({"place": "'merged'"})
        .when_not_matched_insert_all()
        .execute()
    )


# Each step: what delta-rs does, and the numbers of the records that pinlake then no longer finds, and so inserts again.
STEPS = [
    ("append", lambda path: append(path, [record(number) for number in (100, 101, 102, 105)]), []),
    ("append again", lambda path: append(path, [record(106)]), []),
    ("update", lambda path: DeltaTable(str(path)).update({"place": "'moved'"}, predicate="id = 3"), []),
    ("delete", lambda path: DeltaTable(str(path)).delete("id = 4"), [4]),
    ("delete a day", lambda path: DeltaTable(str(path)).delete("day = DATE '2024-01-02'"), None),
    ("merge", lambda path: merge(path, [record(5), record(107)]), []),
    ("compact", lambda path: DeltaTable(str(path)).optimize.compact(), []),
    ("z-order", lambda path: DeltaTable(str(path)).optimize.z_order(["id"]), []),
    ("checkpoint", lambda path: DeltaTable(str(path)).create_checkpoint(), []),
    (
        "vacuum",
        lambda path: DeltaTable(str(path)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False),
        [],
    ),
]


class Lake:
    def __init__(self, folder, partition_by):
        self.folder, self.sent = folder, []
        (folder / "datasets").mkdir(parents=True)
        (folder / "queries").mkdir()
        (folder / "datasets" / "visit.toml").write_text(CONTRACT.format(partition_by=partition_by))
        columns = "id, CAST(day AS VARCHAR) AS day, place"
        (folder / "queries" / "rows.sql").write_text(f"SELECT {columns} FROM visit ORDER BY id")
        self.table = folder / "lake" / "tables" / "visit"

    def run(self, *command):
        command = [PINLAKE, *command, "--lake", str(self.folder / "lake"), "--datasets", str(self.folder / "datasets")]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def load(self, new):
        """Sends all records again, and one more. Returns the counts."""
        self.sent.append(new)
        lines = [json.dumps(record(number), default=str) for number in self.sent]
        path = self.folder / "visit.ndjson"
        path.write_text("\n".join(lines) + "\n")
        return self.run("load", "--dataset", "visit", str(path))

    def read(self):
        """The rows as both programs find them."""
        found = self.run("analyse", "--queries", str(self.folder / "queries"), "--format", "json")
        own = [tuple(row) for row in found["rows"]["rows"]]
        query = "SELECT id, CAST(day AS VARCHAR) AS day, place FROM t ORDER BY id"
        table = QueryBuilder().register("t", DeltaTable(str(self.table))).execute(query).read_all()
        columns = [[cell for chunk in column.chunks for cell in chunk.to_pylist()] for column in table.columns]
        return own, list(zip(*columns))


def check(what, found, expected):
    if found != expected:
        sys.exit(f"writers: {what}: found {found}, expected {expected}")


for name, partition_by in [("plain", ""), ("partitioned", 'partition_by = ["day", "place"]')]:
    lake = Lake(FOLDER / name, partition_by)
    for number in range(8):
        lake.load(number)
    for at, (step, change, gone) in enumerate(STEPS):
        before = {row[0] for row in lake.read()[0]}
        change(lake.table)
        # Records that another program deletes come back when they are sent again.
        missing = sorted(before - {row[0] for row in lake.read()[0]})
        if gone is not None:
            check(f"{name}: {step}: deleted rows", missing, gone)
        again = len(set(missing) & set(lake.sent))
        counts = lake.load(200 + at)
        what = f"{name}: {step}"
        check(f"{what}: inserted", counts["inserted"], 1 + again)
        check(f"{what}: duplicates", counts["duplicates"], len(lake.sent) - 1 - again)
        own, other = lake.read()
        check(f"{what}: rows", own, other)
        check(f"{what}: distinct rows", len({row[0] for row in own}), len(own))
    check(f"{name}: partitions", DeltaTable(str(lake.table)).metadata().partition_columns != [], partition_by != "")
print(f"writers: {len(STEPS)} steps of delta-rs on a plain and a partitioned table: no row is lost or doubled")
