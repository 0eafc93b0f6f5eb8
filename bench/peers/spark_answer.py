"""PySpark: the ten analyses over the Parquet files that spark_clean.py wrote, with the SQL of queries/ as it is."""

import json
import sys
from pathlib import Path

from spark import session

queries, source = map(Path, sys.argv[1:])

with session() as spark:
    for dataset in ("pin", "geo", "user"):
        spark.read.parquet(f"{source}/{dataset}.parquet").createOrReplaceTempView(dataset)
    answers = {
        file.stem: [list(row) for row in spark.sql(file.read_text()).collect()]
        for file in sorted(queries.glob("*.sql"))
        if "." not in file.stem  # another engine's
    }
print(json.dumps(answers))
