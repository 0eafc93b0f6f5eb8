"""Writes the rows that the stock client sends in its first rounds, duplicates included.

    python3 stock_client.py DATA OUT ROUNDS

DATA has the source tables (pin_raw.ndjson, geolocation_data.csv, user_data.csv); the output is OUT/pin.ndjson,
OUT/geo.ndjson and OUT/user.ndjson with one line per round. The client draws with a fixed seed, so every copy of it
sends the same rows.
"""

import csv
import json
import random
import sys
from pathlib import Path


def draws(rounds):
    random.seed(100)
    for _ in range(rounds):
        random.randrange(0, 2)  # the pause before a round
        yield random.randint(0, 11000)


def table(path, **types):
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            row.pop("")  # the number of the line
            yield {name: types.get(name, str)(cell) for name, cell in row.items()}


def main(data, out, rounds):
    data, out = Path(data), Path(out)
    with open(data / "pin_raw.ndjson", encoding="utf-8") as file:
        pins = {pin["index"]: pin for pin in map(json.loads, file)}
    sources = {
        "pin": pins,
        "geo": dict(enumerate(table(data / "geolocation_data.csv", ind=int, latitude=float, longitude=float))),
        "user": dict(enumerate(table(data / "user_data.csv", ind=int, age=int))),
    }
    rows = list(draws(int(rounds)))
    out.mkdir(parents=True, exist_ok=True)
    for dataset, source in sources.items():
        lines = [json.dumps(source[row]) for row in rows]
        (out / f"{dataset}.ndjson").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
