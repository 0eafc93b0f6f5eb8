"""Builds backlogs of landing objects with the cleaner. Every row is distinct."""

import base64
import json
import shutil
import threading
from pathlib import Path
from typing import Any

from bench.cold_start import MEMORY, settings
from bench.events import kinesis_record
from bench.load import empty_folder
from bench.places import WORK, binary
from bench.runtime import Function

DATASET = "geo"
# Shards of an event. The cleaner writes one landing object for each.
SHARDS = 500
# Batches of a shard that arrive in one minute.
BATCHES_A_MINUTE = 10
CLEANERS = 2
_FIRST_ARRIVAL = 1_795_381_200
_COUNTRIES = ("Aruba", "Benin", "Chile", "Denmark", "Estonia", "Fiji", "Ghana", "Honduras")


def build_row(number: int) -> str:
    """The JSON of row `number`. The multiplier is odd, so numbers map to distinct values that are far apart."""
    mixed = number * 0x9E3779B97F4A7C15 % 2**64
    timestamp = (
        f"20{mixed % 20:02d}-{1 + mixed // 32 % 12:02d}-{1 + mixed // 512 % 28:02d} 06:{mixed >> 16 & 31:02d}:00"
    )
    latitude, longitude = (mixed >> 24) % 1_800_000 / 1e4 - 90, (mixed >> 40) % 3_600_000 / 1e4 - 180
    return json.dumps(
        {"ind": number, "timestamp": timestamp, "latitude": latitude, "longitude": longitude,
         "country": _COUNTRIES[mixed >> 61]}
    )  # fmt: skip


def build_event(turn: int, turns: int, objects: int, rows: int) -> dict[str, Any]:
    """The event of batch `turn`, with one record of every shard. Sequence numbers descend, so that only the first batch
    writes watermarks."""
    records = []
    for shard in range(min(SHARDS, objects - turn * SHARDS)):
        first = (turn * SHARDS + shard) * rows
        data = "\n".join(build_row(number) for number in range(first, first + rows)).encode()
        sequence = f"4966{turns - turn:052d}"
        arrived = _FIRST_ARRIVAL + 60.0 * ((turns - turn) // BATCHES_A_MINUTE)
        key, packed = f"{DATASET}/bench-{first}/0", base64.b64encode(data).decode()
        records.append(kinesis_record(f"shardId-{shard:012d}", sequence, key, packed, arrived))
    return {"Records": records}


def build_backlog(objects: int, rows: int) -> Path:
    """A lake with `objects` landing objects of `rows` rows each. It is kept for the next run."""
    lake = WORK / f"backlog-{objects}x{rows}"
    done = lake.with_suffix(".done")
    if not done.exists():
        land_objects(empty_folder(lake), objects, rows)
        done.touch()
    return lake


def land_objects(lake: Path, objects: int, rows: int) -> None:
    """Runs cleaners until `objects` landing objects exist."""
    turns = -(-objects // SHARDS)
    pending = list(range(turns - 1, -1, -1))
    failures: list[str] = []

    def clean(cleaner: Function, max_calls: int) -> None:
        for _ in range(max_calls):
            try:
                turn = pending.pop()
            except IndexError:
                return
            response = cleaner.call(build_event(turn, turns, objects, rows)).answer
            if response != {"batchItemFailures": []}:
                failures.append(cleaner.log_tail())

    cleaners = [Function(binary("cleaner"), settings(str(lake)), MEMORY["cleaner"]) for _ in range(CLEANERS)]
    try:
        # The first batch writes the watermarks.
        clean(cleaners[0], 1)
        while pending and not failures:
            threads = [threading.Thread(target=clean, args=(cleaner, 40)) for cleaner in cleaners]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            # Raw objects are not needed here, and there are many.
            shutil.rmtree(lake / "raw")
    finally:
        for cleaner in cleaners:
            cleaner.__exit__()
    if failures:
        raise SystemExit(f"the cleaner failed:\n{failures[0]}")
    shutil.rmtree(lake / "raw", ignore_errors=True)
