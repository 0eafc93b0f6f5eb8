"""DuckDB: runs the queries of queries/, unchanged, over the Parquet files of duckdb_clean.py."""

import json
import re
import sys
from pathlib import Path

import duckdb

queries, source = map(Path, sys.argv[1:])

connection = duckdb.connect()
for dataset in ("pin", "geo", "user"):
    connection.execute(f"CREATE VIEW \"{dataset}\" AS SELECT * FROM '{source}/{dataset}.parquet'")
answers = {}
for file in sorted(queries.glob("*.sql")):
    if "." in file.stem:
        continue  # the variant of another engine
    # `user` is a keyword in DuckDB.
    sql = re.sub(r"\b(FROM|JOIN) user\b", r'\1 "user"', file.read_text())
    answers[file.stem] = connection.execute(sql).fetchall()
print(json.dumps(answers))
