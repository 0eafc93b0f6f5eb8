"""Reads every table under a folder with delta-rs: read_deltalake.py TABLES OUT"""

import sys
from pathlib import Path

import cells
from deltalake import DeltaTable, QueryBuilder

tables, out = map(Path, sys.argv[1:])
for path in sorted(tables.iterdir()):
    table = DeltaTable(str(path))
    names = [field.name for field in table.schema().fields]
    read = QueryBuilder().register("t", table).execute("SELECT * FROM t").read_all()
    columns = {name: [cell for chunk in read.column(name).chunks for cell in chunk.to_pylist()] for name in names}
    cells.write(out / f"{path.name}.ndjson", columns)
