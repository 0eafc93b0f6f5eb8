"""Starts built functions on this machine, behind a Lambda runtime endpoint, over a lake in the AWS stand-in."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.cold_start import MEMORY, settings
from bench.handlers import start_stream
from bench.runtime import Function
from release.places import ROOT

# A footer of 8 bytes that are no Thrift, and the length that names them.
DAMAGED_PARQUET = b"PAR1" + b"\xff" * 8 + (8).to_bytes(4, "little") + b"PAR1"
GOOD_RECORD = {"ind": 1, "first_name": "Ada", "last_name": "Lovelace", "age": 36, "date_joined": "2015-12-10T00:00:00"}
# The compactor moves a file that it cannot read to failed/ after three attempts.
INVOCATIONS = 4


class Bucket:
    """A bucket of the stand-in."""

    def __init__(self, endpoint: str) -> None:
        self._url = f"{endpoint}/release-check"
        self.put("", b"")

    def put(self, key: str, data: bytes) -> None:
        """Puts an object; with an empty key, makes the bucket."""
        urllib.request.urlopen(urllib.request.Request(f"{self._url}/{key}", data, method="PUT"), timeout=60).read()

    def list_keys(self) -> list[str]:
        """The keys of all objects."""
        listed = urllib.request.urlopen(f"{self._url}?list-type=2", timeout=60).read().decode()
        return [part.split("</Key>")[0] for part in listed.split("<Key>")[1:]]


def load_damaged_parquet(program: Path) -> Iterator[str]:
    """Gives the compactor a damaged Parquet file beside a good file; yields what goes wrong."""
    event = json.loads((ROOT / "events" / "compactor_inbox.json").read_text())
    with start_stream() as endpoint:
        bucket = Bucket(endpoint)
        bucket.put("inbox/user/damaged.parquet", DAMAGED_PARQUET)
        bucket.put("inbox/user/good.ndjson", json.dumps(GOOD_RECORD).encode() + b"\n")
        there = settings("s3://release-check") | {"AWS_ENDPOINT_URL": endpoint}
        with Function(program, there, MEMORY["compactor"]) as function:
            for _ in range(INVOCATIONS):
                answer = function.call(event, seconds=120).answer
                if not isinstance(answer, dict) or "errorType" in answer:
                    yield f"the invocation failed: {answer}\n{function.log_tail()}"
                    return
        keys = bucket.list_keys()
    if any(key.startswith("inbox/") for key in keys):
        yield f"files are still in inbox/: {keys}"
    if not any(key.startswith("failed/") and key.endswith("damaged.parquet") for key in keys):
        yield f"the damaged file is not in failed/: {keys}"
    if not any(key.startswith("tables/user/") and key.endswith(".parquet") for key in keys):
        yield f"the record of the good file is not in its table: {keys}"


def start(name: str, program: Path) -> Iterator[str]:
    """Starts a function until it asks for its first event; yields what goes wrong."""
    try:
        with Function(program, settings("s3://release-check"), MEMORY[name]):
            pass
    except RuntimeError as error:
        yield str(error)
        return
    if name == "compactor":
        yield from load_damaged_parquet(program)
