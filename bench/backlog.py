"""Landing objects that wait, made by the cleaner: real ones, each of rows that are nowhere else."""

import base64
import json
import shutil
import threading
from pathlib import Path
from typing import Any

from bench.cold_start import MEMORY, settings
from bench.events import kinesis_record
from bench.load import fresh
from bench.places import WORK, binary
from bench.runtime import Function

DATASET = "geo"
# One call of the cleaner makes an object of each: it is given a record of each.
SHARDS = 500
# How many of a shard's objects arrive in one minute.
A_MINUTE = 10
CLEANERS = 2
_FIRST_ARRIVAL = 1_795_381_200
_COUNTRIES = ("Aruba", "Benin", "Chile", "Denmark", "Estonia", "Fiji", "Ghana", "Honduras")


def row(number: int) -> str:
    """A row of its number. The multiplier is odd, so that neighbours are far apart, and no two are alike."""
    mixed = number * 0x9E3779B97F4A7C15 % 2**64
    moment = f"20{mixed % 20:02d}-{1 + mixed // 32 % 12:02d}-{1 + mixed // 512 % 28:02d} 06:{mixed >> 16 & 31:02d}:00"
    latitude, longitude = (mixed >> 24) % 1_800_000 / 1e4 - 90, (mixed >> 40) % 3_600_000 / 1e4 - 180
    return json.dumps(
        {"ind": number, "timestamp": moment, "latitude": latitude, "longitude": longitude,
         "country": _COUNTRIES[mixed >> 61]}
    )  # fmt: skip


def event(turn: int, turns: int, objects: int, rows: int) -> dict[str, Any]:
    """One record of every shard. The last sequence number comes first: a lake in a folder can make a watermark, but
    not move one."""
    records = []
    for shard in range(min(SHARDS, objects - turn * SHARDS)):
        first = (turn * SHARDS + shard) * rows
        data = "\n".join(row(number) for number in range(first, first + rows)).encode()
        sequence = f"4966{turns - turn:052d}"
        arrived = _FIRST_ARRIVAL + 60.0 * ((turns - turn) // A_MINUTE)
        key, packed = f"{DATASET}/bench-{first}/0", base64.b64encode(data).decode()
        records.append(kinesis_record(f"shardId-{shard:012d}", sequence, key, packed, arrived))
    return {"Records": records}


def landed(objects: int, rows: int) -> Path:
    """A lake in which so many landing objects wait, of so many rows each. It is kept for the next time."""
    lake = WORK / f"backlog-{objects}x{rows}"
    done = lake.with_suffix(".done")
    if not done.exists():
        make(fresh(lake), objects, rows)
        done.touch()
    return lake


def make(lake: Path, objects: int, rows: int) -> None:
    """Has cleaners land so many objects."""
    turns = -(-objects // SHARDS)
    left = list(range(turns - 1, -1, -1))
    failures: list[str] = []

    def clean(cleaner: Function, most: int) -> None:
        for _ in range(most):
            try:
                turn = left.pop()
            except IndexError:
                return
            answer = cleaner.call(event(turn, turns, objects, rows)).answer
            if answer != {"batchItemFailures": []}:
                failures.append(cleaner.log_tail())

    cleaners = [Function(binary("cleaner"), settings(str(lake)), MEMORY["cleaner"]) for _ in range(CLEANERS)]
    try:
        # The first turn makes the watermarks, which no other moves.
        clean(cleaners[0], 1)
        while left and not failures:
            threads = [threading.Thread(target=clean, args=(cleaner, 40)) for cleaner in cleaners]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # Records as they were sent are not read here, and are more files than the rest.
            shutil.rmtree(lake / "raw")
    finally:
        for cleaner in cleaners:
            cleaner.__exit__()
    if failures:
        raise SystemExit(f"landing failed:\n{failures[0]}")
    shutil.rmtree(lake / "raw", ignore_errors=True)
