"""Access to a running stack, described by `stack.json`, and the program with its lake."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

#: Maximum seconds until the rows of a source are in their table.
PATIENCE = 120
#: Numbers of rows for each source. No other test uses them.
ROOM = 1000


class Deployed:
    """A stack and the program built with it."""

    def __init__(self, described: Path, pinlake: Path):
        self.described: dict[str, Any] = json.loads(described.read_text())
        self.program = pinlake
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": self.described["endpoint"],
            "AWS_REGION": self.described["region"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def pinlake(self, *arguments: str | Path) -> str:
        """Runs the program and returns its standard output."""
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def ask(self, queries: dict[str, str], lake: str | Path | None = None) -> dict[str, Any]:
        """Runs named SQL queries over the lake of the stack or another lake, and returns their results."""
        with tempfile.TemporaryDirectory() as folder:
            for name, sql in queries.items():
                Path(folder, f"{name}.sql").write_text(sql)
            lake = lake or self.described["lake"]
            return json.loads(self.pinlake("analyse", "--format", "json", "--lake", lake, "--queries", folder))


class Users(Deployed):
    """A stack with access to its table `user`, in which each source finds its rows."""

    def users(self, first: int) -> Counter[int]:
        """The count of each number of a source in the table."""
        answer = self.ask({"users": f"SELECT ind FROM user WHERE ind >= {first} AND ind < {first + ROOM}"})
        return Counter(cells[0] for cells in answer["users"]["rows"])

    def expect_users(self, source: str, first: int, count: int) -> None:
        """Waits until all rows of a source are in the table, each once."""
        wanted = Counter(range(first, first + count))
        until = time.monotonic() + PATIENCE
        while (found := self.users(first)) != wanted:
            if time.monotonic() > until or any(number > 1 for number in found.values()):
                raise AssertionError(f"{source}: missing {sorted(wanted - found)}, too many {sorted(found - wanted)}")
            time.sleep(1)
        print(f"{source}: {count} rows, each once", file=sys.stderr)
