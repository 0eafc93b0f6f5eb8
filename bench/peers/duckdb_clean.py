"""DuckDB: NDJSON -> clean -> distinct -> Parquet, as the contracts in datasets/ define it for valid rows.

Written for speed, as a DuckDB user would: columns are declared, row order is not preserved, and nothing is validated.
"""

import sys

import duckdb

source, out = sys.argv[1:]

TEXT = "CASE WHEN {0} IN ({1}) THEN NULL ELSE {0} END AS {0}"
FOLLOWERS = """CASE right(follower_count, 1)
    WHEN 'k' THEN CAST(round(CAST(left(follower_count, -1) AS DOUBLE) * 1e3) AS BIGINT)
    WHEN 'M' THEN CAST(round(CAST(left(follower_count, -1) AS DOUBLE) * 1e6) AS BIGINT)
    WHEN 'B' THEN CAST(round(CAST(left(follower_count, -1) AS DOUBLE) * 1e9) AS BIGINT)
    ELSE TRY_CAST(follower_count AS BIGINT) END AS follower_count"""


def text(name: str, *unknown: str) -> str:
    return TEXT.format(name, ", ".join(f"'{word}'" for word in unknown))


QUERIES = {
    "pin": (
        {"index": "BIGINT", "unique_id": "VARCHAR", "title": "VARCHAR", "description": "VARCHAR",
         "poster_name": "VARCHAR", "follower_count": "VARCHAR", "tag_list": "VARCHAR", "is_image_or_video": "VARCHAR",
         "image_src": "VARCHAR", "save_location": "VARCHAR", "category": "VARCHAR"},
        ["index AS ind", "unique_id", text("title", "No Title Data Available"),
         text("description", "No description available Story format", "No description available", "Untitled"),
         FOLLOWERS, text("poster_name", "User Info Error"), text("tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"),
         "is_image_or_video", text("image_src", "Image src error."),
         """CASE WHEN starts_with(save_location, 'Local save in ') THEN substr(save_location, 15)
            ELSE save_location END AS save_location""", "category"],
    ),
    "geo": (
        {"ind": "BIGINT", "timestamp": "TIMESTAMP", "latitude": "DOUBLE", "longitude": "DOUBLE", "country": "VARCHAR"},
        ["ind", "country", "[latitude, longitude] AS coordinates", "timestamp"],
    ),
    "user": (
        {"ind": "BIGINT", "first_name": "VARCHAR", "last_name": "VARCHAR", "age": "BIGINT", "date_joined": "TIMESTAMP"},
        ["ind", "concat_ws(' ', first_name, last_name) AS user_name", "age", "date_joined"],
    ),
}  # fmt: skip

connection = duckdb.connect()
connection.execute("SET preserve_insertion_order = false")
for dataset, (columns, cells) in QUERIES.items():
    connection.execute(
        f"COPY (SELECT DISTINCT {', '.join(cells)} FROM read_ndjson('{source}/{dataset}.ndjson', columns = {columns}))"
        f" TO '{out}/{dataset}.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )
