"""The demo: posts rows, waits until they are in the tables, runs the analyses and prints the results."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import console, stack
from local.console import Failure, say
from local.places import ROOT, STATE, environment, program

_ROWS = 3000
_INPUT = STATE / "input"
_ACKS = STATE / "acks.json"
_REPLAY = STATE / "replay.json"
_RESULTS = STATE / "results.json"
_REPORT = STATE / "report.html"

# For a large INPUT; the functions are built without optimisation.
_DRAIN_SECONDS = 900

# Slightly more than the time limit of the function.
_ANALYSIS_SECONDS = 330


def run(given: Path | None) -> None:
    """Runs the demo with the rows in ``given``, or with generated rows."""
    if given is not None and not given.exists():
        raise Failure(f"INPUT={given}: no such folder; it should hold pin.ndjson, geo.ndjson, user.ndjson", 2)
    described = stack.up()
    settings = environment(described["endpoint"])
    lake = described["lake"]
    source = given or _generate(settings)

    say(f"posting the rows of {source} to ingest, a third in each wire format")
    # Without the state of an earlier demo, all rows are posted again.
    for kept in (_ACKS, _REPLAY):
        kept.unlink(missing_ok=True)
    url = described["ingest_url"]
    _pinlake(
        settings, "replay", "--to", url, "--from", source, "--format", "mixed", "--acks", _ACKS, "--state", _REPLAY
    )

    say("waiting until every acknowledged record is in its table or in quarantine")
    stream = described["stream"]
    _pinlake(settings, "wait", "--lake", lake, "--stream", stream, "--acks", _ACKS, "--timeout", str(_DRAIN_SECONDS))

    say("running the analyses")
    _analyse(described)

    say("the results:")
    _pinlake(settings, "results", "--lake", lake, "--format", "table")
    _keep_results(_pinlake(settings, "results", "--lake", lake, "--format", "json", stdout=subprocess.PIPE))
    _pinlake(settings, "report", "--lake", lake, "--title", "Demo", "--out", _REPORT, stdout=subprocess.PIPE)
    say(f"the same as a page in one file: {_REPORT.relative_to(ROOT)}")
    _what_next(described)


def _pinlake(settings: dict[str, str], command: str, *arguments: str | Path, stdout: int | None = None) -> str:
    return console.run([program(), command, *arguments], settings, what=f"pinlake {command}", stdout=stdout)


def _generate(settings: dict[str, str]) -> Path:
    say(f"generating {_ROWS} rows of each dataset, with duplicates and dirty rows")
    wanted = f"--rows {_ROWS} --duplicates 0.2 --dirty 0.05 --seed 7"
    _pinlake(settings, "generate", "--out", _INPUT, *wanted.split())
    return _INPUT


def _analyse(described: dict[str, Any]) -> None:
    function = described["functions"]["analysis"]
    lambda_ = stack.client("lambda", described["endpoint"], read_timeout=_ANALYSIS_SECONDS)
    try:
        answer = lambda_.invoke(FunctionName=function, Payload=b"{}")
        said = answer["Payload"].read().decode(errors="replace")
    except (BotoCoreError, ClientError) as error:
        raise Failure(f"the function {function} could not be invoked: {error}") from error
    if answer.get("FunctionError"):
        raise Failure(f"the function {function} failed: {said}")
    (STATE / "analysis.json").write_text(said + "\n")


def _keep_results(text: str) -> None:
    try:
        count = len(json.loads(text))
    except (ValueError, TypeError) as error:
        raise Failure(f"pinlake results did not print JSON: {error}") from error
    new = _RESULTS.with_suffix(".new")
    new.write_text(text)
    os.replace(new, _RESULTS)
    say(f"{count} results are in {_RESULTS.relative_to(ROOT)}")


def _what_next(described: dict[str, Any]) -> None:
    row = '{"ind": 1, "country": "Aruba", "latitude": 12.5, "longitude": -70.0, "timestamp": "2022-01-31 06:00:00"}'
    print(
        f"""
The results and the state of the lake, as a page: {described["report_url"]}

The stack stays up. Some things to do now:

  curl -i {described["ingest_url"]}/v1/geo \\
    -H 'Content-Type: application/json' -d '{row}'
  make demo INPUT=<folder with pin.ndjson, geo.ndjson, user.ndjson>
  make down        stops it and deletes its data
""",
        flush=True,
    )
