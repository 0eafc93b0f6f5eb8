"""Reads every table under a folder with delta-lake-reader: read_delta_lake_reader.py TABLES OUT"""

import sys
from pathlib import Path

import cells
from deltalake import DeltaTable

tables, out = map(Path, sys.argv[1:])
for path in sorted(tables.iterdir()):
    read = DeltaTable(str(path)).to_table()
    columns = {name: read.column(name).to_pylist() for name in read.column_names}
    cells.write(out / f"{path.name}.ndjson", columns)
