"""What ingest's clients wait for: the function's own time a request, and the whole time to the acknowledgement.

The function's own time is measured over a stream that takes everything at once and says how long each call took it,
which is taken off. What remains has the runtime API of this harness in it, whose time is measured beside: that of an
event that ingest answers without looking at its body.
"""

import statistics
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench import inputs, machine, report
from bench.cold_start import MEMORY, settings
from bench.fake_stream import fake_stream
from bench.handlers import lines, post, stream
from bench.measure import percentile
from bench.places import binary
from bench.runtime import Call, Function

# Requests by their records; most is the p99 that is aimed at.
SIZES = {1: {"requests": 3000, "floors": 1000, "most_ms": 5}, 500: {"requests": 800, "floors": 300, "most_ms": 10}}
MB_PER_CPU_SECOND = 150
_WARM_UP = 50
_POSTS = 20_000
# Different requests, turn about: a client does not send the same one again and again.
_DIFFERENT = 40


def requests(records: list[bytes], size: int) -> list[dict[str, Any]]:
    """Different requests of so many records."""
    return [post(records[at : at + size]) for at in range(0, _DIFFERENT * size, size)]


def nowhere(event: dict[str, Any]) -> dict[str, Any]:
    """The same request to a path that ingest does not know: answered with 404, its body not read."""
    http = event["requestContext"]["http"] | {"path": "/nowhere"}
    return event | {"rawPath": "/nowhere", "requestContext": event["requestContext"] | {"http": http}}


def called(function: Function, events: Iterable[Any], count: int, status: int) -> list[Call]:
    """Calls with events in turn, after some that are not counted."""
    calls = [function.call(event) for event in islice(cycle(events), _WARM_UP + count)]
    wrong = [call.answer for call in calls if call.answer["statusCode"] != status]
    assert not wrong, wrong[0]
    return calls[_WARM_UP:]


def own(records: list[bytes]) -> dict[int, dict[str, Any]]:
    """The function's own time by size of request, and what of it is the harness's."""
    figures = {}
    with fake_stream() as fake:
        ours = settings("unused") | {"AWS_ENDPOINT_URL": fake.endpoint}
        with Function(binary("ingest"), ours, MEMORY["ingest"]) as function:
            for size, wanted in SIZES.items():
                events = requests(records, size)
                floors = called(function, map(nowhere, events), wanted["floors"], 404)
                fake.waits_ms()
                calls = called(function, events, wanted["requests"], 200)
                waits = fake.waits_ms()
                # A request that was put in two calls, or twice, could not be told from its neighbours.
                assert len(waits) == _WARM_UP + len(calls), (len(waits), len(calls))
                figures[size] = {
                    "own_ms": [call.wall_ms - wait for call, wait in zip(calls, waits[_WARM_UP:])],
                    "wait_ms": waits[_WARM_UP:],
                    "floor_ms": [call.wall_ms for call in floors],
                    "cpu_ms": [call.cpu_ms for call in calls],
                    "mb": statistics.fmean(len(event["body"].encode()) for event in events) / 1e6,
                }
    return figures


def acknowledged(records: list[bytes]) -> dict[int, list[float]]:
    """The whole time of a request over the local stand-in's stream."""
    with stream() as endpoint:
        ours = settings("unused") | {"AWS_ENDPOINT_URL": endpoint}
        with Function(binary("ingest"), ours, MEMORY["ingest"]) as function:
            return {
                size: [call.wall_ms for call in called(function, requests(records, size), wanted["requests"], 200)]
                for size, wanted in SIZES.items()
            }


def posts(source: Path) -> list[bytes]:
    """Posts, each once."""
    return list(dict.fromkeys(lines(source, "pin")))


def run() -> None:
    """Prints the table of both sizes."""
    print("## ingest: what a request takes, the wait for Kinesis apart\n")
    records = posts(inputs.generated(_POSTS))
    others = machine.others_share()
    figures = own(records)
    acks = acknowledged(records)
    both: Callable[[list[float]], list[str]] = lambda times: [f"{percentile(times, p):.2f}" for p in (0.5, 0.99)]  # noqa: E731
    rows = []
    for size, figure in figures.items():
        figure["acknowledged_ms"] = acks[size]
        figure["mb_per_cpu_s"] = figure["mb"] * 1e3 / statistics.fmean(figure["cpu_ms"])
        rows.append(
            [str(size), f"{len(figure['own_ms']):,}", *both(figure["own_ms"]), f"< {SIZES[size]['most_ms']}",
             *both(figure["floor_ms"]), *both(acks[size])]
        )  # fmt: skip
    head = ["records a request", "requests", "own ms, p50", "p99", "aim", "of it harness, p50", "p99",
            "acknowledged ms, p50", "p99"]  # fmt: skip
    print(report.table(head, rows))
    small, large = figures.values()
    more = (statistics.fmean(large["cpu_ms"]) - statistics.fmean(small["cpu_ms"])) / (large["mb"] - small["mb"])
    print(
        f"\n  500 a request: {large['mb_per_cpu_s']:.0f} MB/s a processor in all, {1e3 / more:.0f} for what is "
        f"beyond a request of one record; aim {MB_PER_CPU_SECOND}"
    )
    print(f"  others took {others:.2f} of a processor before it began")
    kept = {size: {name: _kept(value) for name, value in figure.items()} for size, figure in figures.items()}
    report.keep("ingest", {"others_share": others, "sizes": SIZES}, kept)


def _kept(value: float | list[float]) -> float | str:
    return report.in_line(value) if isinstance(value, list) else round(value, 4)
