"""Runs the stock clients against a stack, interrupts, kills and restarts them, and checks that the tables have each row
that they drew once, and that the results are those of these rows.

The clients are the scripts in client/ with another host in the URL. attended/ is on their PYTHONPATH: it shortens their
pauses and records requests and responses.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mariadb
import stock_client
import yaml
from deployed import Deployed

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CLIENTS = ("user_posting_emulation", "user_posting_emulation_streaming")
#: The host that users replace in the scripts.
OLD_HOST = "https://a1b2c3d4e5.execute-api.us-east-1.amazonaws.com"
DATASETS = {"pin": "index", "geo": "ind", "user": "ind"}
#: Responses after which the clients are interrupted in the first run and killed in the second.
INTERRUPTED_AFTER, KILLED_AFTER = 20, 35
#: Rounds of the last run, which is not disturbed; more than the other runs complete.
ROUNDS = 40
#: Real seconds for each second of the clients' pauses.
SECOND = "0.05"
#: Maximum seconds of a run; 40 rounds take about 20.
PATIENCE = 120
#: Numbers of posts for each run of this test. No other test uses them.
NUMBERS = 20_000


@dataclass
class Client:
    """A running script."""

    name: str
    notes: Path
    log: Path
    process: subprocess.Popen[bytes]

    def read(self) -> list[dict[str, Any]]:
        """The recorded requests and responses, without an incomplete last line."""
        text = self.notes.read_text() if self.notes.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def stop(self, how: signal.Signals, answered: int, deadline: float) -> None:
        """Sends a signal after `answered` responses, while the script waits for the next one."""
        while True:
            notes = self.read()
            waits = bool(notes) and "status" not in notes[-1]
            if waits and sum("status" in note for note in notes) >= answered:
                break
            self._expect(self.process.poll() is None, f"ended by itself with {self.process.returncode}")
            self._expect(time.monotonic() < deadline, f"is not done with {answered} rows")
            time.sleep(0.005)
        self.process.send_signal(how)
        self.end(how, deadline)

    def end(self, how: signal.Signals, deadline: float) -> None:
        """Waits until this signal has ended the script."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.1, deadline - time.monotonic()))
        self._expect(self.process.returncode == -how, f"ended with {self.process.returncode}, not by {how.name}")

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise AssertionError(f"{self.name} {otherwise}:\n{self.log.read_text()[-2000:]}")


def prepare(folder: Path, url: str, entered: dict[str, Any]) -> None:
    """Copies the scripts, with the URL of the stack, and the database credentials to a folder."""
    shutil.copytree(HERE / "client", folder)
    for name in CLIENTS:
        script = folder / f"{name}.py"
        text = script.read_text()
        assert text.count(OLD_HOST) == 1, name
        script.write_text(text.replace(OLD_HOST, url))
    (folder / "db_creds.yaml").write_text(yaml.safe_dump({name.upper(): value for name, value in entered.items()}))


def _heed_interrupts() -> None:
    """Restores the default action of SIGINT, which is ignored if a shell runs this test in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(folder: Path, run: int, rounds: int) -> list[Client]:
    """Starts both scripts."""
    clients = []
    for name in CLIENTS:
        notes, log = folder / f"{name}.{run}.ndjson", folder / f"{name}.{run}.log"
        settings = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | {
            "PYTHONPATH": str(HERE / "attended"),
            "ATTENDED_NOTES": str(notes),
            "ATTENDED_ROUNDS": str(rounds),
            "ATTENDED_SECOND": SECOND,
        }
        with log.open("w") as out:
            command = [sys.executable, f"{name}.py"]
            process = subprocess.Popen(
                command, cwd=folder, env=settings, stdout=out, stderr=out, preexec_fn=_heed_interrupts
            )
        clients.append(Client(name, notes, log, process))
    return clients


def run_clients(folder: Path) -> list[list[dict[str, Any]]]:
    """Runs both clients at once three times, and returns the records of each run of each client."""
    noted = []
    ends = [(signal.SIGINT, INTERRUPTED_AFTER), (signal.SIGKILL, KILLED_AFTER), (signal.SIGINT, None)]
    for run, (how, answered) in enumerate(ends):
        clients = start(folder, run, ROUNDS)
        deadline = time.monotonic() + PATIENCE
        try:
            for client in clients:
                if answered is None:
                    client.end(how, deadline)
                else:
                    client.stop(how, answered, deadline)
        finally:
            for client in clients:
                client.process.kill()
                client.process.wait()
        noted += [client.read() for client in clients]
    return noted


def rows_of(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one row of a request, and its dataset by the names of its columns."""
    row = body["Data"] if "Data" in body else body["records"][0]["value"]
    return "pin" if "index" in row else "geo" if "country" in row else "user", row


def write_rows(data: Path, folder: Path, first: int) -> dict[str, list[str]]:
    """Writes the rows that the clients draw to a file for each dataset, and returns them as JSON texts."""
    stock_client.main(data, folder, ROUNDS)
    drawn = {}
    for dataset, number in DATASETS.items():
        path = folder / f"{dataset}.ndjson"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        drawn[dataset] = [json.dumps(row | {number: row[number] + first}) for row in rows]
        path.write_text("".join(line + "\n" for line in drawn[dataset]))
    return drawn


def expect_known_rows(noted: list[list[dict[str, Any]]], drawn: dict[str, list[str]]) -> None:
    """Checks that each run sent the expected rows in order, and that no response was an error."""
    for notes in noted:
        answers = [note for note in notes if "status" in note]
        refused = [note for note in answers if note["status"] != 200]
        assert not refused, refused[0]
        sent: dict[str, list[str]] = {dataset: [] for dataset in DATASETS}
        for note in answers:
            dataset, row = rows_of(note["sent"])
            sent[dataset].append(json.dumps(row))
        for dataset, rows in sent.items():
            assert rows == drawn[dataset][: len(rows)], f"{dataset}: {rows} is not what is drawn"
    for notes in noted[-len(CLIENTS) :]:
        assert sum("status" in note for note in notes) == ROUNDS * len(DATASETS)


def acknowledged(noted: list[list[dict[str, Any]]]) -> dict[str, str]:
    """The highest acknowledged sequence number of each shard."""
    highest: dict[str, int] = {}
    for note in (note for notes in noted for note in notes if note.get("ack")):
        for ack in note["ack"].split(","):
            shard, number = ack.split("=")
            highest[shard] = max(highest.get(shard, 0), int(number))
    return {shard: str(number) for shard, number in highest.items()}


def own_queries(first: int) -> dict[str, str]:
    """The built-in queries over the rows of this run only."""
    condition = f"WHERE ind >= {first} AND ind < {first + NUMBERS}"
    own = ", ".join(f"{dataset} AS (SELECT * FROM {dataset} {condition})" for dataset in DATASETS)
    queries = {}
    for path in (ROOT / "queries").glob("*.sql"):
        if "." in path.stem:
            continue  # another engine's
        sql = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("--"))
        queries[path.stem] = f"WITH {own}, {sql[5:]}" if sql.startswith("WITH ") else f"WITH {own} {sql}"
    return queries


def cells(answers: dict[str, Any]) -> dict[str, Any]:
    """The results without the versions of tables."""
    return {name: (answer["columns"], answer["rows"]) for name, answer in answers.items()}


def expect_rows_and_answers(stack: Deployed, rows: Path, drawn: dict[str, list[str]], first: int, lake: Path) -> None:
    """Checks that the stack has each row once, and that its results equal those of a loaded lake and of the oracle."""
    stack.pinlake("load", "--lake", lake, rows)
    whole = {dataset: f"SELECT * FROM {dataset}" for dataset in DATASETS}
    own = {name: f"{sql} WHERE ind >= {first} AND ind < {first + NUMBERS}" for name, sql in whole.items()}
    tables, files = stack.ask(own), stack.ask(whole, lake)
    for dataset in DATASETS:
        found = Counter(map(json.dumps, tables[dataset]["rows"]))
        wanted = Counter(map(json.dumps, files[dataset]["rows"]))
        assert wanted.total() == len(set(drawn[dataset])), dataset
        assert found == wanted, f"{dataset}: missing {wanted - found}, too many {found - wanted}"
    answers = cells(stack.ask(own_queries(first)))
    assert answers == cells(json.loads(stack.pinlake("analyse", "--format", "json", "--lake", lake)))
    oracle = [sys.executable, ROOT / "tests" / "oracle" / "answers.py", rows]
    assert answers == cells(json.loads(subprocess.run(oracle, capture_output=True, check=True).stdout))
    assert len(answers) == 10


def main() -> None:
    """Runs the clients from a database, then checks rows and results."""
    if mariadb.program() is None:
        print("stock: skipped: MariaDB is not installed; on Debian: apt install mariadb-server", file=sys.stderr)
        return
    described, program, data, work = map(Path, sys.argv[1:])
    stack = Deployed(described, program)
    first = time.time_ns() // 1_000_000 * NUMBERS
    run = work / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    begun = time.monotonic()
    with mariadb.running(run) as entered:
        mariadb.load(entered, data, first)
        prepare(run / "client", stack.described["ingest_url"], entered)
        noted = run_clients(run / "client")
    drawn = write_rows(data, run / "rows", first)
    expect_known_rows(noted, drawn)
    (run / "acks.json").write_text(json.dumps(acknowledged(noted)))
    where = ["--lake", stack.described["lake"], "--stream", stack.described["stream"]]
    stack.pinlake("wait", *where, "--acks", run / "acks.json", "--timeout", str(PATIENCE))
    expect_rows_and_answers(stack, run / "rows", drawn, first, run / "lake")
    answered = sum("status" in note for notes in noted for note in notes)
    lost = sum("status" not in note for notes in noted for note in notes) - answered
    distinct = sum(len(set(rows)) for rows in drawn.values())
    print(
        f"stock: two clients received {answered} responses in three runs, and {lost} were lost when a client ended: "
        f"{distinct} rows, each once, and their ten results ({time.monotonic() - begun:.0f} s)",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
