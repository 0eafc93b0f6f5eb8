"""Section ingest: the function's own time for a request, and the time to the acknowledgement.

Own time is measured against a fake stream that reports how long each call took, which is subtracted. It includes the
runtime API of this harness; that part is measured separately, with an event that ingest rejects without reading its
body.
"""

import statistics
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench import inputs, machine, report
from bench.cold_start import MEMORY, settings
from bench.fake_stream import fake_stream
from bench.handlers import build_request, read_lines, start_stream
from bench.measure import percentile
from bench.places import binary
from bench.runtime import Call, Function

# By records a request: counted requests, requests to measure the harness, and the target p99.
SIZES = {1: {"requests": 3000, "floors": 1000, "most_ms": 5}, 500: {"requests": 800, "floors": 300, "most_ms": 10}}
MB_PER_CPU_SECOND = 150
_WARM_UP = 50
_POSTS = 20_000
# Number of different requests, sent in turn.
_DIFFERENT = 40


def build_requests(records: list[bytes], size: int) -> list[dict[str, Any]]:
    """Builds different requests of `size` records."""
    return [build_request(records[at : at + size]) for at in range(0, _DIFFERENT * size, size)]


def to_unknown_path(event: dict[str, Any]) -> dict[str, Any]:
    """The same request to an unknown path: ingest answers 404 without reading the body."""
    http = event["requestContext"]["http"] | {"path": "/nowhere"}
    return event | {"rawPath": "/nowhere", "requestContext": event["requestContext"] | {"http": http}}


def call_in_turn(function: Function, events: Iterable[Any], count: int, status: int) -> list[Call]:
    """Sends events in turn, after warm-up calls, and returns the counted calls. Every response must have `status`."""
    calls = [function.call(event) for event in islice(cycle(events), _WARM_UP + count)]
    wrong = [call.answer for call in calls if call.answer["statusCode"] != status]
    assert not wrong, wrong[0]
    return calls[_WARM_UP:]


def measure_own_time(records: list[bytes]) -> dict[int, dict[str, Any]]:
    """The function's own time by size of request, and the harness's part of it."""
    figures = {}
    with fake_stream() as fake:
        environment = settings("unused") | {"AWS_ENDPOINT_URL": fake.endpoint}
        with Function(binary("ingest"), environment, MEMORY["ingest"]) as function:
            for size, wanted in SIZES.items():
                events = build_requests(records, size)
                floors = call_in_turn(function, map(to_unknown_path, events), wanted["floors"], 404)
                fake.take_waits_ms()
                calls = call_in_turn(function, events, wanted["requests"], 200)
                waits = fake.take_waits_ms()
                # Each request must make exactly one call to the stream, or waits and calls would not match.
                assert len(waits) == _WARM_UP + len(calls), (len(waits), len(calls))
                figures[size] = {
                    "own_ms": [call.wall_ms - wait for call, wait in zip(calls, waits[_WARM_UP:])],
                    "wait_ms": waits[_WARM_UP:],
                    "floor_ms": [call.wall_ms for call in floors],
                    "cpu_ms": [call.cpu_ms for call in calls],
                    "mb": statistics.fmean(len(event["body"].encode()) for event in events) / 1e6,
                }
    return figures


def measure_acknowledged(records: list[bytes]) -> dict[int, list[float]]:
    """Total times of requests, by size, with the stream of the local stand-in."""
    with start_stream() as endpoint:
        environment = settings("unused") | {"AWS_ENDPOINT_URL": endpoint}
        with Function(binary("ingest"), environment, MEMORY["ingest"]) as function:
            return {
                size: [
                    call.wall_ms
                    for call in call_in_turn(function, build_requests(records, size), wanted["requests"], 200)
                ]
                for size, wanted in SIZES.items()
            }


def distinct_posts(source: Path) -> list[bytes]:
    """The distinct posts of a generated folder."""
    return list(dict.fromkeys(read_lines(source, "pin")))


def run() -> None:
    """Measures both sizes and prints the table."""
    print("## ingest: time of a request, without the wait for Kinesis\n")
    records = distinct_posts(inputs.generate(_POSTS))
    others = machine.busy_share()
    figures = measure_own_time(records)
    acks = measure_acknowledged(records)
    percentiles: Callable[[list[float]], list[str]] = lambda times: [f"{percentile(times, p):.2f}" for p in (0.5, 0.99)]  # noqa: E731
    rows = []
    for size, figure in figures.items():
        figure["acknowledged_ms"] = acks[size]
        figure["mb_per_cpu_s"] = figure["mb"] * 1e3 / statistics.fmean(figure["cpu_ms"])
        rows.append(
            [str(size), f"{len(figure['own_ms']):,}", *percentiles(figure["own_ms"]), f"< {SIZES[size]['most_ms']}",
             *percentiles(figure["floor_ms"]), *percentiles(acks[size])]
        )  # fmt: skip
    head = ["records a request", "requests", "own ms, p50", "p99", "target", "of it harness, p50", "p99",
            "acknowledged ms, p50", "p99"]  # fmt: skip
    print(report.format_table(head, rows))
    small, large = figures.values()
    more = (statistics.fmean(large["cpu_ms"]) - statistics.fmean(small["cpu_ms"])) / (large["mb"] - small["mb"])
    print(
        f"\n  500 a request: {large['mb_per_cpu_s']:.0f} MB/s per processor, {1e3 / more:.0f} for what exceeds "
        f"a request of one record; target {MB_PER_CPU_SECOND}"
    )
    print(f"  other processes used {others:.2f} processors before the run")
    saved = {size: {name: _to_json(value) for name, value in figure.items()} for size, figure in figures.items()}
    report.save("ingest", {"others_share": others, "sizes": SIZES}, saved)


def _to_json(value: float | list[float]) -> float | str:
    return report.join_figures(value) if isinstance(value, list) else round(value, 4)
