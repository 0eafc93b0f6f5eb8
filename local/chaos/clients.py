"""Clients: `pinlake replay` processes with their own rows. They are killed and resumed, and sometimes repeat rows."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import console
from local.chaos.faults import Faults
from local.console import Failure
from local.places import program

DATASETS = ("pin", "geo", "user")
_FORMATS = ("mixed", "kafka", "kinesis", "native")
_LONGEST_LIFE = 40
_STOP_SECONDS = 90


@dataclass
class Sent:
    """A folder of posted rows, and the number of rows of each dataset, from the first, that are acknowledged."""

    folder: Path
    acknowledged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DATASETS, 0))


class Client:
    """One client: posts rounds of generated rows until it is stopped."""

    def __init__(self, number: int, to: str, folder: Path, settings: dict[str, str], faults: Faults) -> None:
        self._faults = faults
        self._chance = faults.chance(f"client {number}")
        self._seed = faults.seed * 1000 + number * 100
        self._to = to
        self._folder = folder / f"client-{number}"
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"chaos-client-{number}")
        self.acks = self._folder / "acks.json"
        self.sent: list[Sent] = []
        self.requests = 0
        self.repeated = 0
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Starts posting."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the client to finish its open requests and to post no more."""
        self._stop.set()

    def join(self) -> None:
        """Waits until the client has stopped. Raises Failure if it does not stop or has failed."""
        self._thread.join(_STOP_SECONDS + 30)
        if self._thread.is_alive() or self.failure is not None:
            raise Failure(f"a client did not stop: {self.failure or 'it still posts'}; see {self._folder}")

    def rows(self) -> int:
        """The number of rows that are acknowledged so far."""
        return sum(sum(sent.acknowledged.values()) for sent in self.sent)

    def refused(self) -> list[Path]:
        """Files of rows that ingest rejected. There should be none: every row is JSON."""
        return [path for path in self._folder.glob("*.rejects.ndjson") if path.stat().st_size]

    def _run(self) -> None:
        try:
            number = 0
            while not self._stop.is_set():
                again = self.sent and self._chance.random() < 0.25
                sent = self._chance.choice(self.sent) if again else self._make(number)
                self._post(sent, number)
                number += 1
        except BaseException as failure:
            self.failure = failure
            raise

    def _make(self, number: int) -> Sent:
        folder = self._folder / f"rows-{number}"
        wanted = ["--rows", str(self._chance.randint(100, 400)), "--duplicates", "0.3", "--dirty", "0.1"]
        console.run(
            [program(), "generate", "--out", folder, *wanted, "--seed", str(self._seed + number)],
            self._settings,
            what="pinlake generate",
            stdout=subprocess.PIPE,
        )
        sent = Sent(folder)
        self.sent.append(sent)
        return sent

    def _post(self, sent: Sent, number: int) -> None:
        state = self._folder / f"state-{number}.json"
        command = [
            program(), "replay", "--to", self._to, "--from", sent.folder, "--acks", self.acks, "--state", state,
            "--format", self._chance.choice(_FORMATS), "--batch", str(self._chance.choice((1, 7, 30, 100))),
            "--concurrency", str(self._chance.randint(1, 6)), "--rate", str(self._chance.randint(40, 200)),
        ]  # fmt: skip
        with (self._folder / f"replay-{number}.log").open("a") as log:
            while not self._run_once(list(map(str, command)), log, sent, state) and not self._stop.is_set():
                # The same command continues from the state file.
                time.sleep(0.2)
        _note(sent, state)

    def _run_once(self, command: list[str], log: Any, sent: Sent, state: Path) -> bool:
        """Runs the command, and kills it at a random time while faults are on. Returns whether it completed."""
        process = subprocess.Popen(command, env=self._settings, stdout=subprocess.PIPE, stderr=log, text=True)
        life = self._chance.uniform(1, _LONGEST_LIFE)
        begun = time.monotonic()
        stopping = False
        while process.poll() is None:
            if self._stop.is_set() and not stopping:
                process.send_signal(signal.SIGTERM)
                stopping, begun = True, time.monotonic()
            if stopping and time.monotonic() > begun + _STOP_SECONDS:
                process.kill()
            elif not stopping and self._faults.on and time.monotonic() > begun + life:
                process.kill()
                process.wait()
                self._faults.strike("clients", "killed", "replay", f"process {process.pid}, and resumed")
            _note(sent, state)
            time.sleep(0.1)
        summary = process.communicate()[0]
        if summary.strip():
            counts = json.loads(summary)
            self.requests += counts["requests"]
            self.repeated += counts["retries"]
        return process.returncode == 0


def _note(sent: Sent, state: Path) -> None:
    """Reads from a state file how many rows are acknowledged."""
    if not state.exists():
        return
    for name, rows in json.loads(state.read_text())["files"].items():
        dataset = name.partition(".")[0]
        sent.acknowledged[dataset] = max(sent.acknowledged[dataset], rows)


def merged_acks(clients: list[Client], into: Path) -> None:
    """Writes the highest acknowledged sequence number of each shard over all clients, for `pinlake wait`."""
    highest: dict[str, str] = {}
    for client in clients:
        if client.acks.exists():
            for shard, number in json.loads(client.acks.read_text()).items():
                if int(number) > int(highest.get(shard, -1)):
                    highest[shard] = number
    new = into.with_suffix(".new")
    new.write_text(json.dumps(highest))
    os.replace(new, into)
