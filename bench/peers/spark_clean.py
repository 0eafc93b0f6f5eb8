"""PySpark: NDJSON -> clean -> distinct -> Parquet, with declared columns."""

import sys

from spark import session

source, out = sys.argv[1:]


def text(name: str, *unknown: str) -> str:
    return f"CASE WHEN {name} IN ({', '.join(repr(word) for word in unknown)}) THEN NULL ELSE {name} END AS {name}"


def times(letter: str, factor: str) -> str:
    number = "CAST(substring(follower_count, 1, length(follower_count) - 1) AS DOUBLE)"
    return f"WHEN '{letter}' THEN CAST(round({number} * {factor}) AS BIGINT)"


FOLLOWERS = f"""CASE right(follower_count, 1) {times("k", "1e3")} {times("M", "1e6")} {times("B", "1e9")}
    ELSE TRY_CAST(follower_count AS BIGINT) END AS follower_count"""
PLANS = {
    "pin": (
        "index BIGINT, unique_id STRING, title STRING, description STRING, poster_name STRING, follower_count STRING,"
        "tag_list STRING, is_image_or_video STRING, image_src STRING, save_location STRING, category STRING",
        ["index AS ind", "unique_id", text("title", "No Title Data Available"),
         text("description", "No description available Story format", "No description available", "Untitled"),
         FOLLOWERS, text("poster_name", "User Info Error"), text("tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"),
         "is_image_or_video", text("image_src", "Image src error."),
         """CASE WHEN startswith(save_location, 'Local save in ') THEN substring(save_location, 15)
            ELSE save_location END AS save_location""", "category"],
    ),
    "geo": (
        "ind BIGINT, timestamp STRING, latitude DOUBLE, longitude DOUBLE, country STRING",
        ["ind", "country", "array(latitude, longitude) AS coordinates", "CAST(timestamp AS TIMESTAMP) AS timestamp"],
    ),
    "user": (
        "ind BIGINT, first_name STRING, last_name STRING, age BIGINT, date_joined STRING",
        ["ind", "concat_ws(' ', first_name, last_name) AS user_name", "age",
         "CAST(date_joined AS TIMESTAMP) AS date_joined"],
    ),
}  # fmt: skip

with session() as spark:
    for dataset, (schema, cells) in PLANS.items():
        rows = spark.read.schema(schema).json(f"{source}/{dataset}.ndjson").selectExpr(*cells).distinct()
        rows.write.mode("overwrite").option("compression", "zstd").parquet(f"{out}/{dataset}.parquet")
