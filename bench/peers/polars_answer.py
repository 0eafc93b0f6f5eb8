"""Polars: the ten analyses over the Parquet files of polars_clean.py."""

import json
import sys

import polars as pl

source = sys.argv[1]
pin, geo, user = (pl.scan_parquet(f"{source}/{dataset}.parquet") for dataset in ("pin", "geo", "user"))
age = pl.col("age")
grouped = (
    user.with_columns(
        age_group=pl.when(age.is_between(18, 24)).then(pl.lit("18-24"))
        .when(age.is_between(25, 35)).then(pl.lit("25-35"))
        .when(age.is_between(36, 50)).then(pl.lit("36-50")).when(age > 50).then(pl.lit("+50")),
        join_year=pl.col("date_joined").dt.year(),
    )
)  # fmt: skip
placed = geo.with_columns(post_year=pl.col("timestamp").dt.year())
by_place = pin.join(placed, on="ind")
by_user = pin.join(grouped, on="ind")
joined = pl.col("join_year").is_between(2015, 2020)
of_a_group = pl.col("age_group").is_not_null()
median = pl.col("follower_count").median().alias("median_follower_count")


def counts(rows: pl.LazyFrame, *keys: str) -> pl.LazyFrame:
    return rows.group_by(*keys, "category").agg(pl.len().alias("category_count"))


def top(rows: pl.LazyFrame, what: str, *keys: str) -> pl.LazyFrame:
    return rows.filter(pl.col(what) == (pl.col(what).max().over(*keys) if keys else pl.col(what).max()))


by_year = counts(by_place.filter(pl.col("post_year").is_between(2018, 2022)), "post_year")
known = by_place.filter(pl.col("follower_count").is_not_null())
posters = known.group_by("country", "poster_name").agg(pl.col("follower_count").max())
plans = {
    "country_of_top_user": top(known.group_by("country").agg(pl.col("follower_count").max()), "follower_count"),
    "median_followers_by_age_group": by_user.filter(of_a_group).group_by("age_group").agg(median),
    "median_followers_by_join_year": by_user.filter(joined).group_by("join_year").agg(median),
    "median_followers_by_join_year_and_age_group":
        by_user.filter(joined & of_a_group).group_by("join_year", "age_group").agg(median),
    "popular_category_by_age_group":
        top(counts(by_user.filter(of_a_group), "age_group"), "category_count", "age_group"),
    "popular_category_by_country": top(counts(by_place, "country"), "category_count", "country"),
    "popular_category_by_year": top(by_year, "category_count", "post_year"),
    "posts_by_year_and_category": by_year,
    "top_user_by_country": top(posters, "follower_count", "country"),
    "users_joined_by_year": grouped.filter(joined).group_by("join_year").agg(pl.len().alias("number_users_joined")),
}  # fmt: skip
frames = pl.collect_all(list(plans.values()), engine="streaming")
answers = {name: frame.sort(frame.columns, nulls_last=True).rows() for name, frame in zip(plans, frames)}
print(json.dumps(answers))
