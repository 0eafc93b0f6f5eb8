"""delta-rs: creates a table of orders, or merges later orders into it."""

import sys

import duckdb
from deltalake import DeltaTable, write_deltalake

action, table, orders = sys.argv[1:]
columns = "{'id': 'BIGINT', 'at': 'BIGINT', 'state': 'VARCHAR', 'amount': 'DOUBLE', 'city': 'VARCHAR'}"
rows = duckdb.sql(f"FROM read_json('{orders}', format = 'newline_delimited', columns = {columns})").to_arrow_reader()
if action == "create":
    write_deltalake(table, rows)
else:
    merge = DeltaTable(table).merge(rows, "t.id = s.id", source_alias="s", target_alias="t")
    done = merge.when_matched_update_all("s.at > t.at").when_not_matched_insert_all().execute()
    if done["num_target_rows_updated"] != done["num_source_rows"]:
        sys.exit(f"not every order was updated: {done}")
