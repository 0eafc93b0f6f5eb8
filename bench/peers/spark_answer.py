"""PySpark: runs the queries of queries/, unchanged, over the Parquet files of spark_clean.py."""

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
        if "." not in file.stem  # the variant of another engine
    }
print(json.dumps(answers))
