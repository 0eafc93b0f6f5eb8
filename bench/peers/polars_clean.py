"""Polars: NDJSON -> clean -> distinct -> Parquet, lazy and streaming, with declared columns."""

import sys

import polars as pl

source, out = sys.argv[1:]


def text(name: str, *unknown: str) -> pl.Expr:
    return pl.when(pl.col(name).is_in(list(unknown))).then(None).otherwise(pl.col(name)).alias(name)


def timestamp(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")


count = pl.col("follower_count")
number = count.str.strip_chars_end("kMB").cast(pl.Float64, strict=False)
factor = (
    pl.when(count.str.ends_with("k")).then(1e3).when(count.str.ends_with("M")).then(1e6)
    .when(count.str.ends_with("B")).then(1e9).otherwise(1.0)
)  # fmt: skip
String, Int, Float = pl.String, pl.Int64, pl.Float64
PLANS = {
    "pin": (
        {"index": Int, "unique_id": String, "title": String, "description": String, "poster_name": String,
         "follower_count": String, "tag_list": String, "is_image_or_video": String, "image_src": String,
         "save_location": String, "category": String},
        [pl.col("index").alias("ind"), pl.col("unique_id"), text("title", "No Title Data Available"),
         text("description", "No description available Story format", "No description available", "Untitled"),
         (number * factor).round().cast(Int).alias("follower_count"), text("poster_name", "User Info Error"),
         text("tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"), pl.col("is_image_or_video"),
         text("image_src", "Image src error."), pl.col("save_location").str.strip_prefix("Local save in "),
         pl.col("category")],
    ),
    "geo": (
        {"ind": Int, "timestamp": String, "latitude": Float, "longitude": Float, "country": String},
        [pl.col("ind"), pl.col("country"), pl.concat_list("latitude", "longitude").alias("coordinates"),
         timestamp("timestamp")],
    ),
    "user": (
        {"ind": Int, "first_name": String, "last_name": String, "age": Int, "date_joined": String},
        [pl.col("ind"), pl.concat_str("first_name", "last_name", separator=" ", ignore_nulls=True).alias("user_name"),
         pl.col("age"), timestamp("date_joined")],
    ),
}  # fmt: skip

for dataset, (schema, cells) in PLANS.items():
    rows = pl.scan_ndjson(f"{source}/{dataset}.ndjson", schema=schema).select(cells).unique(maintain_order=False)
    rows.sink_parquet(f"{out}/{dataset}.parquet", compression="zstd", engine="streaming")
