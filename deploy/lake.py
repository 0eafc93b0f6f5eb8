"""The lake of a deployed stack, read with the program pinlake."""

import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.console import Failure, say
from local.places import ROOT

#: For one query of a small table.
_QUERY_SECONDS = 120


def find_program() -> Path:
    """The program: PINLAKE, or what `make build` built. Raises Failure with exit code 2 if there is none."""
    named = os.environ.get("PINLAKE")
    program = Path(named) if named else ROOT / "target" / "pinlake"
    if not os.access(program, os.X_OK) or program.is_dir():
        raise Failure(f"there is no program {program}; build it (make build), or name it: PINLAKE=/path/to/pinlake", 2)
    return program.resolve()


@dataclass(frozen=True)
class Lake:
    """A lake, and how to reach it."""

    program: Path
    location: str
    stream: str
    environment: Mapping[str, str]
    contracts: Path | None

    def wait(self, acks: dict[str, int], folder: Path, seconds: int) -> bool:
        """Waits until the acknowledged records have landed and been inserted. The program says why if they have not."""
        file = folder / "acks.json"
        file.write_text(json.dumps({shard: str(number) for shard, number in acks.items()}))
        arguments = ["--stream", self.stream, "--acks", str(file), "--timeout", str(seconds)]
        return self._run("wait", arguments, seconds + _QUERY_SECONDS) is not None

    def count(self, dataset: str, column: str, marks: list[str]) -> Counter[str] | None:
        """Counts the rows of each mark; None if the table cannot be read."""
        listed = ", ".join(f"'{mark}'" for mark in marks)
        sql = f'SELECT "{column}", count(*) FROM "{dataset}" WHERE "{column}" IN ({listed}) GROUP BY "{column}"'
        rows = self._ask(sql)
        return None if rows is None else Counter({mark: int(count) for mark, count in rows})

    def explain(self, mark: str) -> str | None:
        """Why a record is in quarantine; None if it is not."""
        # As hexadecimal digits, because other records in quarantine need not be text.
        digits = mark.encode().hex()
        rows = self._ask(f"SELECT reason, detail FROM quarantine WHERE encode(raw, 'hex') LIKE '%{digits}%'")
        return f"in quarantine: {rows[0][0]}, {rows[0][1]}" if rows else None

    def _ask(self, sql: str) -> list[list[Any]] | None:
        with tempfile.TemporaryDirectory(prefix="pinlake-smoke-") as folder:
            Path(folder, "smoke.sql").write_text(sql + "\n")
            said = self._run("analyse", ["--queries", folder, "--format", "json"], _QUERY_SECONDS, has_contracts=True)
        if said is None:
            return None
        try:
            return json.loads(said)["smoke"]["rows"]
        except (ValueError, KeyError, TypeError) as error:
            text = f"{self.program} analyse did not print the result; is it of this version?"
            raise Failure(f"{text} ({error})") from error

    def _run(self, command: str, arguments: list[str], seconds: int, has_contracts: bool = False) -> str | None:
        """Runs the program. Returns what it prints, or None if it fails; it says why."""
        if has_contracts and self.contracts:
            arguments = [*arguments, "--datasets", str(self.contracts)]
        whole = [str(self.program), command, "--lake", self.location, *arguments]
        try:
            done = subprocess.run(
                whole, env=dict(self.environment), stdout=subprocess.PIPE, text=True, timeout=seconds, check=False
            )
        except subprocess.TimeoutExpired:
            say(f"pinlake {command} did not end within {seconds} s")
            return None
        except OSError as error:
            raise Failure(f"{self.program} does not start: {error}", 2) from error
        if done.returncode == 2:
            text = f"pinlake {command} refused its arguments, see above"
            raise Failure(f"{text}; if {self.program} is of another version than the stack, build it: make build")
        return done.stdout if done.returncode == 0 else None
