"""Section handlers: CPU time, log bytes and stored bytes of a call, the input of shared/cost/src/measured.toml.

The functions run under a local runtime API with a lake in a folder; ingest uses the stream of the local AWS stand-in.
"""

import base64
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import inputs, report, trigger_queue
from bench.cold_start import MEMORY, settings
from bench.events import kinesis_record
from bench.load import empty_folder
from bench.places import ROOT, WORK, binary
from bench.runtime import Call, Function

PORT = int(os.environ.get("PINLAKE_PORT", "4570"))
# Bytes of records in one event of the cleaner. Lambda's limit is 6 MB of base64.
EVENT_BYTES = 4_400_000
RECORD_BYTES = 25_600


@contextmanager
def start_stream() -> Iterator[str]:
    """Starts the local stand-in with the stream `records` and yields its endpoint."""
    endpoint = f"http://127.0.0.1:{PORT}"
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            sys.exit(f"port 127.0.0.1:{PORT} is in use; choose a free one: PINLAKE_PORT=N make bench")
    folder = empty_folder(WORK / "stand-in")
    environment = os.environ | {
        "GATEWAY_PORT": str(PORT), "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "TMPDIR": str(folder),
        "MINISTACK_HOST": "localhost",
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([ROOT / ".venv" / "bin" / "ministack"], env=environment, stdout=log, stderr=log)
    try:
        body = json.dumps({"StreamName": "records", "ShardCount": 1}).encode()
        head = {
            "X-Amz-Target": "Kinesis_20131202.CreateStream",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=test/20220101/us-east-1/kinesis/aws4_request, "
            "SignedHeaders=host, Signature=0",
        }
        for attempt in range(300):
            try:
                urllib.request.urlopen(urllib.request.Request(endpoint, body, head), timeout=10).read()
                break
            except OSError as error:
                # The previous attempt timed out but created the stream.
                if isinstance(error, urllib.error.HTTPError) and b"ResourceInUseException" in error.read():
                    break
                if attempt == 299:
                    raise
                time.sleep(0.1)
        time.sleep(1)
        yield endpoint
    finally:
        process.terminate()
        process.wait()


def read_lines(source: Path, dataset: str) -> list[bytes]:
    """The records of a dataset's file."""
    return (source / f"{dataset}.ndjson").read_bytes().splitlines()


def build_request(records: list[bytes]) -> dict[str, Any]:
    """The function URL event of a client's request."""
    event = json.loads((ROOT / "events" / "ingest_native.json").read_text())
    event["rawPath"] = event["requestContext"]["http"]["path"] = "/v1/pin"
    event["headers"] |= {"content-type": "application/x-ndjson", "content-length": "0"}
    for name in ("content-encoding", "idempotency-key"):
        event["headers"].pop(name, None)
    return event | {"body": b"\n".join(records).decode(), "isBase64Encoded": False}


def build_kinesis_event(packed: list[tuple[str, bytes]], first: int) -> dict[str, Any]:
    """The event of a batch of Kinesis records, numbered from `first`. Every batch has a shard of its own, so that each
    creates its watermark."""
    records = [
        kinesis_record(
            f"shardId-{first:012d}",
            f"4966{number:052d}",
            f"{dataset}/bench-{number}/0",
            base64.b64encode(data).decode(),
            1795381200.0 + number,
        )
        for number, (dataset, data) in enumerate(packed, first)
    ]
    return {"Records": records}


def pack_records(source: Path, *, max_bytes: int) -> Iterator[list[tuple[str, bytes]]]:
    """Packs the records of all files, datasets in turn, into Kinesis records of 25 KB and events of `max_bytes`."""
    event, size = [], 0
    rounds = zip(*(read_lines(source, dataset) for dataset in inputs.DATASETS))
    open_records: dict[str, list[bytes]] = {dataset: [] for dataset in inputs.DATASETS}
    sizes = dict.fromkeys(inputs.DATASETS, 0)
    for post_lines in rounds:
        for dataset, line in zip(inputs.DATASETS, post_lines):
            if sizes[dataset] + len(line) + 1 > RECORD_BYTES:
                data = b"\n".join(open_records[dataset])
                event.append((dataset, data))
                size += len(data)
                open_records[dataset], sizes[dataset] = [], 0
                if size >= max_bytes:
                    yield event
                    event, size = [], 0
            open_records[dataset].append(line)
            sizes[dataset] += len(line) + 1
    event += [(dataset, b"\n".join(rest)) for dataset, rest in open_records.items() if rest]
    yield event


def trigger_event(*datasets: str) -> dict[str, Any]:
    """The event of a trigger of the compactor, for some datasets or, without arguments, for all."""
    return trigger_queue.sqs_event(json.dumps({"wake": list(datasets)}))


def folder_mb(*folders: Path) -> float:
    """Size of the files in folders, in MB."""
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()) / 1e6


def fit_line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Fits cost = fixed + per_unit * units to (units, cost) by least squares; returns (fixed, per_unit)."""
    x, y = (statistics.fmean(column) for column in zip(*points))
    slope = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return y - slope * x, slope


def measure_ingest(source: Path, runs: int) -> dict[str, Any]:
    """Measures ingest with requests of 1 and of 500 records."""
    records = read_lines(source, "pin")
    points, figures = [], {}
    with start_stream() as endpoint:
        ours = settings("unused") | {"AWS_ENDPOINT_URL": endpoint}
        with Function(binary("ingest"), ours, MEMORY["ingest"]) as function:
            for batch in (1, 500):
                event = build_request(records[:batch])
                calls = [function.call(event) for _ in range(runs * 10)][5:]
                assert all(call.answer["statusCode"] == 200 for call in calls), calls[0].answer
                mb = sum(map(len, records[:batch])) / 1e6
                points.append((mb, statistics.median(call.cpu_ms for call in calls)))
                figures[f"records {batch}"] = summarize(calls) | {
                    "answer_bytes": len(json.dumps(calls[0].answer)),
                    "mb": mb,
                }
    base, per_mb = fit_line(points)
    return figures | {"cpu_ms_per_request": base, "cpu_ms_per_mb": per_mb}


def summarize(calls: list[Call]) -> dict[str, float]:
    """The medians of calls."""
    middle = lambda name: round(statistics.median(getattr(call, name) for call in calls), 3)  # noqa: E731
    return {
        "calls": len(calls),
        "cpu_ms": middle("cpu_ms"),
        "wall_ms": middle("wall_ms"),
        "log_bytes": middle("log_bytes"),
    }


def measure_cleaner_and_compactor(source: Path) -> dict[str, Any]:
    """Measures the cleaner with all records, and the compactor with the landing objects of several batches."""
    lake = empty_folder(WORK / "handlers-lake")
    figures: dict[str, Any] = {}
    cleaned: list[tuple[float, Call]] = []
    commits: list[tuple[float, Call]] = []
    number = 0
    with (
        Function(binary("cleaner"), settings(str(lake)), MEMORY["cleaner"]) as clean,
        Function(binary("compactor"), settings(str(lake)), MEMORY["compactor"]) as compact,
    ):
        waiting = 0.0
        for at, packed in enumerate(pack_records(source, max_bytes=EVENT_BYTES)):
            # Small events too, to separate the fixed cost of a call.
            parts = [packed] if at % 2 == 0 else [packed[:3], packed[3:]]
            for part in filter(None, parts):
                mb = sum(len(data) for _, data in part) / 1e6
                call = clean.call(build_kinesis_event(part, number))
                assert call.answer == {"batchItemFailures": []}, clean.log_tail()
                number += len(part)
                cleaned.append((mb, call))
                waiting += mb
            if at % 7 in (0, 6):
                call = compact.call(trigger_event())
                assert call.answer == {"batchItemFailures": []}, compact.log_tail()
                commits.append((waiting, call))
                waiting = 0.0
        commits.append((waiting, compact.call(trigger_event())))
        figures["cleaner_rss_mb"], figures["compactor_rss_mb"] = clean.peak_rss_mb, compact.peak_rss_mb
    total = sum(mb for mb, _ in cleaned)
    for name, points, commits_a_call in (("cleaner", cleaned, 1), ("compactor", commits, 3)):
        base, per_mb = fit_line([(mb, call.cpu_ms) for mb, call in points])
        figures[name] = summarize([call for _, call in points]) | {
            "cpu_ms_per_call": base, "cpu_ms_per_commit": base / commits_a_call, "cpu_ms_per_mb": per_mb
        }  # fmt: skip
    tables = [lake / "tables" / dataset for dataset in inputs.DATASETS]
    figures["stored"] = {
        "mb": total,
        "raw_per_byte": folder_mb(lake / "raw") / total,
        "table_per_byte": folder_mb(*tables) / total,
        "keys_per_byte": folder_mb(*(table / "_pinlake_keys" for table in tables)) / total,
    }
    shutil.rmtree(lake)
    return figures


def run(rows: int, runs: int) -> None:
    """Prints the figures of shared/cost/src/measured.toml."""
    print("## handlers: CPU time, log and stored bytes of a call\n")
    source = inputs.generate(rows)
    figures = {"ingest": measure_ingest(source, runs)} | measure_cleaner_and_compactor(source)
    rows_of = [
        ["ingest, a request", figures["ingest"]["cpu_ms_per_request"], figures["ingest"]["cpu_ms_per_mb"]],
        ["cleaner, a batch", figures["cleaner"]["cpu_ms_per_call"], figures["cleaner"]["cpu_ms_per_mb"]],
        ["compactor, a commit", figures["compactor"]["cpu_ms_per_commit"], figures["compactor"]["cpu_ms_per_mb"]],
    ]
    print(
        report.format_table(
            ["", "CPU ms", "CPU ms for each MB"], [[name, f"{a:.2f}", f"{b:.2f}"] for name, a, b in rows_of]
        )
    )
    print()
    print(
        report.format_table(
            ["stored, for each byte of JSON", ""], [[k, f"{v:.3f}"] for k, v in figures["stored"].items()]
        )
    )
    report.save("handlers", {"posts": rows, "runs": runs}, figures)
