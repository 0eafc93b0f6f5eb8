"""The records of the smoke test, one for each wire format, each with its own mark; and the requests that carry them.

docs/api.md describes the wire formats. The names of topics and streams come from the dataset's contract.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.console import Failure

#: The built-in dataset for synthetic records. Its rows are identified by `id`.
CANARY = "pinlake_canary"
_CANARY_RECORD = {"id": "{mark}", "at": "{now}"}


@dataclass(frozen=True)
class Route:
    """How each wire format names a dataset; None if the contract does not route that format."""

    topic: str | None
    stream: str | None
    partition_key: str


@dataclass(frozen=True)
class Request:
    """A request without its host."""

    wire: str
    method: str
    path: str
    content_type: str
    body: bytes
    #: The text that only this record has.
    mark: str


def read_record(dataset: str, file: Path | None) -> dict[str, Any]:
    """Reads the record to send. Its texts may contain {mark} and {now}. Raises Failure with exit code 2."""
    if file is None:
        if dataset != CANARY:
            raise Failure(f"what should a record of {dataset} look like? name a file: RECORD=FILE", 2)
        return _CANARY_RECORD
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise Failure(f"{file} cannot be read as JSON: {error}", 2) from error
    if not isinstance(record, dict):
        raise Failure(f"{file} must contain one JSON object", 2)
    return record


def find_column(record: dict[str, Any], given: str | None) -> str:
    """The column that has the mark: the one given, or the only field whose value is {mark}."""
    if given is not None:
        column = given
    else:
        marked = [name for name, value in record.items() if value == "{mark}"]
        if len(marked) != 1:
            text = f"{len(marked)} fields of the record have the value {{mark}}; give it to one field, a text column"
            raise Failure(f"{text}, or name the column: COLUMN=NAME", 2)
        column = marked[0]
    if not re.fullmatch("[A-Za-z0-9_]+", column):
        raise Failure(f"{column!r} is not the name of a column", 2)
    return column


def find_route(dataset: str, contracts: Path) -> Route:
    """Finds the names of a dataset in the contracts of a folder. Raises Failure with exit code 2."""
    if not re.fullmatch("[a-z][a-z0-9_]*", dataset):
        raise Failure(f"{dataset!r} is not the name of a dataset", 2)
    try:
        read = {file.name: tomllib.loads(file.read_text()) for file in sorted(contracts.glob("*.toml"))}
    except (OSError, ValueError) as error:
        raise Failure(f"the contracts in {contracts} cannot be read: {error}", 2) from error
    shared = [name for file, found in read.items() if file.startswith("_") for name in found.get("shared_streams", [])]
    for file, found in read.items():
        if not file.startswith("_") and found.get("name") == dataset:
            route = found.get("route", {})
            keys = route.get("partition_keys", [])
            stream = _pick(route.get("streams", [])) or (_pick(shared) if keys else None)
            return Route(_pick(route.get("topics", [])), stream, keys[0] if keys else "smoke")
    if dataset == CANARY:
        return Route(CANARY, CANARY, CANARY)
    text = f"{contracts} has no contract of {dataset}"
    raise Failure(f"{text}; name the folder of the stack's contracts: CONTRACTS=DIR", 2)


def _pick(patterns: list[str]) -> str | None:
    """A name that one of the patterns matches, if possible one without an asterisk."""
    return min(patterns, key=lambda pattern: "*" in pattern).replace("*", "smoke") if patterns else None


def build_requests(dataset: str, route: Route, record: dict[str, Any], run: str, now: str) -> Iterator[Request]:
    """One request for each wire format that the contract routes. ``run``: what the marks begin with."""
    mark = f"{run}-native"
    body = _fill(record, mark, now)
    yield Request("native", "POST", f"/v1/{dataset}", "application/x-ndjson", _dump(body) + b"\n", mark)
    if route.topic is not None:
        mark = f"{run}-kafka"
        body = {"records": [{"value": _fill(record, mark, now)}]}
        type_ = "application/vnd.kafka.json.v2+json"
        yield Request("kafka", "POST", f"/topics/{route.topic}", type_, _dump(body), mark)
    if route.stream is not None:
        mark = f"{run}-kinesis"
        body = {"StreamName": route.stream, "Data": _fill(record, mark, now), "PartitionKey": route.partition_key}
        yield Request("kinesis", "PUT", f"/streams/{route.stream}/record", "application/json", _dump(body), mark)


def _fill(value: Any, mark: str, now: str) -> Any:
    if isinstance(value, dict):
        return {name: _fill(item, mark, now) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, mark, now) for item in value]
    return value.replace("{mark}", mark).replace("{now}", now) if isinstance(value, str) else value


def _dump(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
