"""DuckLake: creates a table of orders, or merges later orders into it.

It marks the rows of the earlier orders as deleted, and writes no data file again.
"""

import sys
from pathlib import Path

CANNOT_RUN = 77
try:
    import duckdb
    import duckdb_extension_ducklake
except ModuleNotFoundError as error:
    print(f"{error}: make bench installs it", file=sys.stderr)
    sys.exit(CANNOT_RUN)

action, folder, orders = sys.argv[1:]
extensions = Path(duckdb_extension_ducklake.__file__).parent / "extensions"
database = duckdb.connect()
database.load_extension(str(next(extensions.rglob("ducklake.duckdb_extension"))))
# The catalog has the path of the data files, which is another one in a copy of the folder.
database.sql(
    f"ATTACH 'ducklake:{folder}/catalog.ducklake' AS lake (DATA_PATH '{folder}/data', OVERRIDE_DATA_PATH true)"
)
columns = "{'id': 'BIGINT', 'at': 'BIGINT', 'state': 'VARCHAR', 'amount': 'DOUBLE', 'city': 'VARCHAR'}"
source = f"read_json('{orders}', format = 'newline_delimited', columns = {columns})"
if action == "create":
    database.sql(f"CREATE TABLE lake.orders AS FROM {source}")
else:
    database.sql(f"""
        MERGE INTO lake.orders AS t USING (FROM {source}) AS s ON t.id = s.id
        WHEN MATCHED AND s."at" > t."at"
            THEN UPDATE SET "at" = s."at", state = s.state, amount = s.amount, city = s.city
        WHEN NOT MATCHED THEN INSERT
    """)
    updated = database.sql('SELECT count(*) FROM lake.orders WHERE "at" >= 1700000000000').fetchone()
    if updated != (100_000,):
        sys.exit(f"not every order was updated: {updated}")
