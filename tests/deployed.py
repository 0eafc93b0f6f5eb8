"""A stack that runs, as `stack.json` describes it, and the program over its lake."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any


class Deployed:
    """The stack, and the program that belongs to it."""

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
        """What the program prints."""
        command = [str(self.program), *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def ask(self, queries: dict[str, str], lake: str | Path | None = None) -> dict[str, Any]:
        """The answers to some SQL by name, of the stack's lake or another one."""
        with tempfile.TemporaryDirectory() as folder:
            for name, sql in queries.items():
                Path(folder, f"{name}.sql").write_text(sql)
            lake = lake or self.described["lake"]
            return json.loads(self.pinlake("analyse", "--format", "json", "--lake", lake, "--queries", folder))
