"""Runs airflow/dags/pinlake_daily.py in Airflow against a stack of its own, and checks the results.

Airflow has its own environment, ``target/airflow/venv``, with the exact versions of airflow/requirements.lock, so that
its dependencies stay apart from those of the project.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from local import console, stack, stand_in
from local.console import Failure, say
from local.places import ROOT, STATE, environment, program

_LOCK = ROOT / "airflow" / "requirements.lock"
_VENV = STATE / "venv"
_DAG = "pinlake_daily"
_ROWS = STATE / "rows"
_LANDED_SECONDS = 60


def run() -> None:
    """Leaves rows in landing, lets the DAG insert them, and compares its results with those of the oracle."""
    _install()
    stand_in.stop()
    try:
        _check(stack.up())
    finally:
        stand_in.stop()


def _install() -> None:
    installed = _VENV / "installed.lock"
    if installed.exists() and installed.read_bytes() == _LOCK.read_bytes():
        return
    say("installing Airflow into target/airflow/venv (one to three minutes, about 400 MB)")
    begun = time.monotonic()
    console.run([sys.executable, "-m", "venv", "--clear", _VENV], os.environ, what="venv")
    pip = [_VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", _LOCK]
    console.run(pip, os.environ, what="pip install")
    installed.write_bytes(_LOCK.read_bytes())
    say(f"installed in {time.monotonic() - begun:.0f} s")


def _check(described: dict[str, Any]) -> None:
    settings = environment(described["endpoint"])
    _leave_rows_in_landing(described, settings)
    begun = time.monotonic()
    _test_dag(settings)
    took = time.monotonic() - begun
    results = [program(), "results", "--lake", described["lake"], "--format", "json"]
    found = _answers(results, settings, what="pinlake results")
    wanted = _answers([sys.executable, ROOT / "tests/oracle/answers.py", _ROWS], os.environ, what="the oracle")
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if different or found.keys() != wanted.keys():
        raise Failure(f"the results of the DAG differ from those of the oracle: {different or sorted(found)}")
    say(f"the DAG took {took:.0f} s; its {len(found)} results equal those of the oracle, cell by cell")


def _answers(command: list[Any], settings: Any, *, what: str) -> dict[str, Any]:
    """The columns and rows of the results, without what differs between runs."""
    said = json.loads(console.run(command, settings, what=what, stdout=subprocess.PIPE))
    return {name: {part: result[part] for part in ("columns", "rows")} for name, result in said.items()}


def _leave_rows_in_landing(described: dict[str, Any], settings: dict[str, str]) -> None:
    """Disables the event source of the compactor, so that only the DAG triggers it, and posts rows."""
    lambda_ = stack.client("lambda", described["endpoint"])
    compactor = described["functions"]["compactor"]
    for mapping in lambda_.list_event_source_mappings(FunctionName=compactor)["EventSourceMappings"]:
        lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    quiet = {"what": "pinlake", "stdout": subprocess.PIPE}
    wanted = ["--rows", "300", "--duplicates", "0.2", "--dirty", "0.05", "--seed", "7"]
    console.run([program(), "generate", "--out", _ROWS, *wanted], settings, **quiet)
    replay = [program(), "replay", "--to", described["ingest_url"], "--from", _ROWS]
    posted = json.loads(console.run(replay, settings, **quiet))
    s3 = stack.client("s3", described["endpoint"])
    deadline = time.monotonic() + _LANDED_SECONDS
    while (landed := _landed(s3, described["bucket"])) < posted["accepted"]:
        if time.monotonic() > deadline:
            raise Failure(f"only {landed} of {posted['accepted']} rows have landed after {_LANDED_SECONDS} s")
        time.sleep(0.5)
    say(f"landing has {landed} rows")


def _landed(s3: Any, bucket: str) -> int:
    """The number of rows in landing, from the footers of its objects."""
    # Imported late: it is installed with the stand-in.
    import duckdb

    rows = 0
    for entry in s3.list_objects_v2(Bucket=bucket, Prefix="landing/").get("Contents", []):
        path = STATE / "landed.parquet"
        s3.download_file(bucket, entry["Key"], str(path))
        rows += duckdb.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()[0][0]
    return rows


def _test_dag(settings: dict[str, str]) -> None:
    home = STATE / "airflow"
    settings = settings | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "airflow" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    home.mkdir(parents=True, exist_ok=True)
    airflow = _VENV / "bin" / "airflow"
    log = STATE / "airflow.log"
    say("airflow db migrate")
    console.run([airflow, "db", "migrate"], settings, what="airflow db migrate", log=log)
    say(f"airflow dags test {_DAG}")
    console.run([airflow, "dags", "test", _DAG], settings, what="airflow dags test", log=log)
