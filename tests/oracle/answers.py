"""An independent implementation of cleaning, of the ten results and of their variants.

    python3 answers.py DIR               the results of DIR/pin.ndjson, geo.ndjson and user.ndjson as JSON
    python3 answers.py DIR --counts      for each dataset: lines read, distinct clean rows, distinct rejected lines
    python3 answers.py DIR --variants    the results of examples/notebook-queries, by folder

Reads rows as clients send them, in any order, with duplicates and invalid rows. It uses neither pinlake nor any
package, and keeps all rows in memory.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

INT64 = range(-(2**63), 2**63)


class Rejected(Exception):
    """The record is invalid and belongs in quarantine."""


# ---- values -------------------------------------------------------------------------------------------------


def first_known(record, *names):
    for name in names:
        if record.get(name) is not None:
            return record[name]
    return None


def text(value, *missing):
    """A text; null if it equals one of `missing`."""
    if value is None:
        return None
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, (int, Decimal)):
        value = str(value)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if not isinstance(value, str):
        raise Rejected(f"not a text: {value!r}")
    return None if value in missing else value


def whole_number(value, scale=1):
    if value is None:
        return None
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,4})?", value):
            raise Rejected(f"not a number: {value!r}")
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Rejected(f"not a number: {value!r}")
    number = Fraction(value) * scale
    if number.denominator != 1 or number.numerator not in INT64:
        raise Rejected(f"not a whole number of 64 bits: {value!r}")
    return number.numerator


def count(value):
    """124k, 1.2M, 3B or a plain number."""
    value = text(value, "User Info Error")
    if value is None:
        return None
    scale = {"k": 10**3, "m": 10**6, "b": 10**9}.get(value[-1:].lower())
    return whole_number(value) if scale is None else whole_number(value[:-1], scale)


def degrees(value):
    if value is None:
        return None
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?", value):
            raise Rejected(f"not a number: {value!r}")
    elif isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Rejected(f"not a number: {value!r}")
    return float(value) + 0.0


CLOCK = r"(?P<H>\d{1,2}):(?P<M>\d{1,2}):(?P<S>\d{1,2})(?:[.,](?P<f>\d+))?\s?(?P<z>Z|[+-]\d\d:?\d\d)?"
TIMES = [
    re.compile(r"(?P<Y>\d{4})[-/:.](?P<m>\d{1,2})[-/:.](?P<d>\d{1,2})[ T]" + CLOCK, re.ASCII),
    re.compile(r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<Y>\d{4}), " + CLOCK, re.ASCII),
]


def moment(value):
    """A time in one of the formats that clients use; without a zone it is UTC."""
    if value is None:
        return None
    if isinstance(value, dict) and set(value) == {"$date"}:
        value = value["$date"]
        if isinstance(value, dict) and set(value) == {"$numberLong"}:
            value = whole_number(value["$numberLong"])
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value)
    if not isinstance(value, str):
        raise Rejected(f"not a time: {value!r}")
    for form in TIMES:
        if match := form.fullmatch(value):
            parts = match.groupdict()
            try:
                at = datetime(*(int(parts[part]) for part in "YmdHMS"), tzinfo=UTC)
            except ValueError as error:
                raise Rejected(f"not a time: {value!r}: {error}") from None
            micros = int((parts["f"] or "0").ljust(6, "0")[:6])
            at += timedelta(microseconds=micros)
            if parts["z"] and parts["z"] != "Z":
                zone = parts["z"].replace(":", "")
                offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
                at = at - offset if zone[0] == "+" else at + offset
            return at
    raise Rejected(f"not a time: {value!r}")


# ---- rows ---------------------------------------------------------------------------------------------------


def required(value):
    if value is None:
        raise Rejected("no row number")
    return value


def pin(record):
    location = text(record.get("save_location"))
    return (
        required(whole_number(first_known(record, "index", "ind"))),
        text(record.get("unique_id")),
        text(record.get("title"), "No Title Data Available"),
        text(
            record.get("description"),
            "No description available Story format",
            "No description available",
            "Untitled",
        ),
        count(record.get("follower_count")),
        text(record.get("poster_name"), "User Info Error"),
        text(record.get("tag_list"), "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e"),
        text(record.get("is_image_or_video")),
        text(record.get("image_src"), "Image src error."),
        location.removeprefix("Local save in ") if location is not None else None,
        text(record.get("category")),
    )


def geo(record):
    coordinates = (degrees(record.get("latitude")), degrees(record.get("longitude")))
    return (
        required(whole_number(first_known(record, "ind", "index"))),
        text(record.get("country")),
        None if coordinates == (None, None) else coordinates,
        moment(record.get("timestamp")),
    )


def user(record):
    names = [text(record.get("first_name")), text(record.get("last_name"))]
    known = [name for name in names if name is not None]
    return (
        required(whole_number(first_known(record, "ind", "index"))),
        " ".join(known) if known else None,
        whole_number(record.get("age")),
        moment(record.get("date_joined")),
    )


# Fields that only one dataset has. A record with the fields of another dataset is rejected.
MARKS = {"pin": {"unique_id"}, "geo": {"latitude", "longitude"}, "user": {"first_name", "last_name"}}
CLEANERS = {"pin": pin, "geo": geo, "user": user}
# Fields of which a row has at least one.
PARTS = {
    "pin": MARKS["pin"]
    | {"title", "description", "follower_count", "poster_name", "tag_list", "is_image_or_video", "image_src"}
    | {"save_location", "category"},
    "geo": MARKS["geo"] | {"country", "timestamp"},
    "user": MARKS["user"] | {"date_joined"},
}


def no_constant(name):
    raise ValueError(f"{name} is no JSON")


def cleaned(dataset, line):
    try:
        record = json.loads(line, parse_float=Decimal, parse_constant=no_constant)
    except ValueError as error:
        raise Rejected(f"not JSON: {error}") from None
    if not isinstance(record, dict):
        raise Rejected("not an object")
    marked = {name for name, marks in MARKS.items() if marks <= record.keys()}
    if marked and dataset not in marked:
        raise Rejected(f"a record of {' or '.join(sorted(marked))}")
    if not PARTS[dataset] & record.keys():
        raise Rejected("nothing of a row")
    return CLEANERS[dataset](record)


def read(folder):
    """The distinct clean rows of each dataset, and the counts of its lines."""
    tables, counts = {}, {}
    for dataset in CLEANERS:
        rows, rejects, lines = set(), 0, 0
        path = Path(folder) / f"{dataset}.ndjson"
        for line in path.read_bytes().split(b"\n") if path.exists() else []:
            if not line.strip():
                continue
            lines += 1
            try:
                rows.add(cleaned(dataset, line))
            except Rejected:
                rejects += 1
        tables[dataset] = rows
        counts[dataset] = {
            "read": lines,
            "inserted": len(rows),
            "duplicates": lines - len(rows) - rejects,
            # Also those that quarantine has already.
            "quarantined": rejects,
        }
    return tables, counts


# ---- results ------------------------------------------------------------------------------------------------


def joined(left, right):
    """Pairs of rows with the same number, which is the first cell of both."""
    by_number = defaultdict(list)
    for row in right:
        by_number[row[0]].append(row)
    return [(row, other) for row in left for other in by_number[row[0]]]


def age_group(age):
    if age is None or age < 18:
        return None
    return "18-24" if age <= 24 else "25-35" if age <= 35 else "36-50" if age <= 50 else "+50"


def exact_median(values):
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = len(known) // 2
    if len(known) % 2:
        return float(known[middle])
    return float(Fraction(known[middle - 1] + known[middle], 2))


def largest_by_first(counted):
    """The entries of {(group, what): n} with the largest n of their group, as (group, what, n)."""
    largest = {}
    for (group, _), n in counted.items():
        largest[group] = max(n, largest.get(group, n))
    return [(group, what, n) for (group, what), n in counted.items() if n == largest[group]]


def medians(pairs):
    values = defaultdict(list)
    for key, value in pairs:
        values[key].append(value)
    return [(*key, exact_median(group)) for key, group in values.items()]


def in_order(row):
    """The sort key of a row: missing cells last, texts by their UTF-8 bytes."""
    return [(cell is None, cell.encode() if isinstance(cell, str) else cell or 0) for cell in row]


def answers(pins, geos, users):
    # (country, year of the post, category, poster, followers)
    places = [(g[1], g[3].year if g[3] else None, p[10], p[5], p[4]) for p, g in joined(pins, geos)]
    # (age group, year of joining, category, followers)
    people = [(age_group(u[2]), u[3].year if u[3] else None, p[10], p[4]) for p, u in joined(pins, users)]

    def post_year(year):
        return year is not None and 2018 <= year <= 2022

    def join_year(year):
        return year is not None and 2015 <= year <= 2020

    by_year = Counter((year, category) for _, year, category, _, _ in places if post_year(year))
    followers = {}
    for country, _, _, poster, known in places:
        if known is not None:
            followers[country, poster] = max(known, followers.get((country, poster), known))
    top_users = largest_by_first(followers)
    most = max((n for _, _, n in top_users), default=None)
    joins = Counter(u[3].year for u in users if u[3] and join_year(u[3].year))

    results = {
        "popular_category_by_country": (
            ["country", "category", "category_count"],
            largest_by_first(Counter((country, category) for country, _, category, _, _ in places)),
        ),
        "posts_by_year_and_category": (
            ["post_year", "category", "category_count"],
            [(year, category, n) for (year, category), n in by_year.items()],
        ),
        "popular_category_by_year": (
            ["post_year", "category", "category_count"],
            largest_by_first(by_year),
        ),
        "top_user_by_country": (["country", "poster_name", "follower_count"], top_users),
        "country_of_top_user": (
            ["country", "follower_count"],
            list({(country, n) for country, _, n in top_users if n == most}),
        ),
        "popular_category_by_age_group": (
            ["age_group", "category", "category_count"],
            largest_by_first(Counter((group, category) for group, _, category, _ in people if group)),
        ),
        "median_followers_by_age_group": (
            ["age_group", "median_follower_count"],
            medians(((group,), known) for group, _, _, known in people if group),
        ),
        "users_joined_by_year": (["join_year", "number_users_joined"], list(joins.items())),
        "median_followers_by_join_year": (
            ["join_year", "median_follower_count"],
            medians(((year,), known) for _, year, _, known in people if join_year(year)),
        ),
        "median_followers_by_join_year_and_age_group": (
            ["join_year", "age_group", "median_follower_count"],
            medians(((year, group), known) for group, year, _, known in people if group and join_year(year)),
        ),
    }
    return in_result_order(results)


def in_result_order(results):
    return {
        name: {"columns": columns, "rows": [list(row) for row in sorted(rows, key=in_order)]}
        for name, (columns, rows) in sorted(results.items())
    }


# ---- variants of the results --------------------------------------------------------------------------------


def year_of(time):
    return time.year if time else None


def lower_median(values):
    known = sorted(value for value in values if value is not None)
    return known[(len(known) - 1) // 2] if known else None


def first_of_each(rows):
    """Of rows with the same first cell, the one whose other cells but the last come first."""
    first = {}
    for row in sorted(rows, key=in_order):
        first.setdefault(row[0], row)
    return list(first.values())


def median_results(values, median=exact_median, year_column="join_year", names=("age", "year", "both")):
    """The three results with medians, of (age group, year, count)."""
    columns = {"age": ["age_group"], "year": [year_column], "both": [year_column, "age_group"]}
    files = {"age": "age_group", "year": "join_year", "both": "join_year_and_age_group"}
    grouped = {name: defaultdict(list) for name in names}
    for group, year, count in values:
        in_years = year is not None and 2015 <= year <= 2020
        for name, key in (("age", (group,)), ("year", (year,)), ("both", (year, group))):
            if name in names and (group or name == "year") and (in_years or name == "age"):
                grouped[name][key].append(count)
    return {
        f"median_followers_by_{files[name]}": (
            [*columns[name], "median_follower_count"],
            [(*key, median(counts)) for key, counts in groups.items()],
        )
        for name, groups in grouped.items()
    }


def category_by_group(pairs):
    counted = Counter(pair for pair in pairs if pair[0])
    return {"popular_category_by_age_group": (["age_group", "category", "category_count"], largest_by_first(counted))}


def variants(pins, geos, users):
    """The results of examples/notebook-queries, by folder."""
    placed, owned = joined(pins, geos), joined(pins, users)
    owned_and_placed = [(p, u, g) for p, (_, u, g) in joined(pins, [(u[0], u, g) for u, g in joined(users, geos)])]
    ours = answers(pins, geos, users)
    owned_values = [(age_group(u[2]), year_of(u[3]), p[4]) for p, u in owned]

    def joins(years, column="number_users_joined", year_column="join_year"):
        counted = Counter(year for year in years if year is not None and 2015 <= year <= 2020)
        return ([year_column, column], list(counted.items()))

    def relabelled(group_of):
        return median_results(
            [(group_of(u[2]), year_of(u[3]), p[4]) for p, u in owned], names=("age", "both")
        ) | category_by_group((group_of(u[2]), p[10]) for p, u in owned)

    def plus_last(age):
        return (age_group(age) or "").replace("+50", "50+")

    def others_oldest(age):
        return age_group(age) or "+50"

    def other_bounds(age):
        if age is None:
            return None
        return next((name for most, name in ((25, "18-24"), (35, "25-35"), (50, "36-50")) if age <= most), "+50")

    # An entry for each person and count.
    people = {(u[1:], p[4]): (age_group(u[2]), year_of(u[3]), p[4]) for p, u in owned}
    by_year = Counter((year_of(g[3]), p[10]) for p, g in placed)
    by_user, sums = {}, Counter()
    for p, u, g in owned_and_placed:
        if p[4] is not None:
            by_user[g[1], u[1]] = max(p[4], by_user.get((g[1], u[1]), p[4]))
    for p, g in placed:
        if p[4] is not None:
            sums[g[1], p[5]] += p[4]
    top_country = ours["country_of_top_user"]

    found = {
        "all-categories": {
            "popular_category_by_country": (
                ["country", "category", "category_count"],
                [(*key, n) for key, n in Counter((g[1], p[10]) for p, g in placed).items()],
            ),
        },
        "all-years": {
            "popular_category_by_year": (["post_year", "category", "category_count"], largest_by_first(by_year)),
            "posts_by_year_and_category": (
                ["post_year", "category", "category_count"],
                [(*key, n) for key, n in by_year.items()],
            ),
        },
        "column-post-year": {
            "users_joined_by_year": joins((year_of(u[3]) for u in users), year_column="post_year"),
            **median_results(owned_values, year_column="post_year", names=("year", "both")),
        },
        "label-50-plus": relabelled(plus_last),
        "lower-median": median_results(owned_values, lower_median),
        "one-row": {
            name: (ours[name]["columns"], first_of_each(map(tuple, ours[name]["rows"])))
            for name in (
                "popular_category_by_age_group",
                "popular_category_by_country",
                "popular_category_by_year",
                "top_user_by_country",
            )
        }
        | {"country_of_top_user": (top_country["columns"], top_country["rows"][:1])},
        "other-age-bounds": relabelled(other_bounds),
        "others-in-oldest-group": relabelled(others_oldest),
        "people": {
            "people_joined_by_year": joins((year_of(u[2]) for u in {u[1:] for u in users}), "number_people_joined"),
            **median_results(people.values()),
        },
        "sum-of-followers": {
            "top_user_by_country": (["country", "poster_name", "follower_count"], largest_by_first(sums)),
        },
        "unknown-is-zero": median_results([(group, year, count or 0) for group, year, count in owned_values]),
        "user-names": {
            "top_user_by_country": (["country", "user_name", "follower_count"], largest_by_first(by_user)),
        },
        "year-of-post": {
            "users_joined_by_year": joins((year_of(g[3]) for _, g in joined(users, geos)), year_column="post_year"),
            **median_results(
                [(None, year_of(g[3]), p[4]) for p, g in placed], year_column="post_year", names=("year",)
            ),
            **median_results(
                [(age_group(u[2]), year_of(g[3]), p[4]) for p, u, g in owned_and_placed],
                year_column="post_year",
                names=("both",),
            ),
        },
    }
    return {folder: in_result_order(results) for folder, results in found.items()}


def main(folder, *options):
    tables, counts = read(folder)
    rows = (tables["pin"], tables["geo"], tables["user"])
    found = counts if "--counts" in options else variants(*rows) if "--variants" in options else answers(*rows)
    json.dump(found, sys.stdout, ensure_ascii=False, indent=None)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
