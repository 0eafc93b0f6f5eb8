"""A shell that executes documented commands one block after the other and keeps their variables, like a user's."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from pages import Block

#: Maximum seconds of a block.
LIMIT = 600
#: Maximum number of questions of a block.
QUESTIONS = 10


class Shell:
    """A bash in a folder. A command that fails ends it, and the test."""

    def __init__(self, folder: Path, environment: dict[str, str], log: Path) -> None:
        self._log = log.open("w+")
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
            # Ended by close(). A session of its own would take the terminal of `run` for its own, and end with it.
            process_group=0,
        )
        self._script = log.with_suffix(".sh")
        self._done = log.with_suffix(".done")
        self._send("set -euo pipefail")

    def run(self, block: Block | str, terminal: bool = False) -> str:
        """Executes commands and returns their output. ``terminal``: standard input is a terminal, on which someone
        answers `y`; otherwise it is empty."""
        begin, started = self._log.seek(0, os.SEEK_END), time.monotonic()
        self._script.write_text(block.text if isinstance(block, Block) else block)
        self._done.unlink(missing_ok=True)
        master, slave = pty.openpty()
        try:
            source = os.ttyname(slave) if terminal else os.devnull
            # A terminal hands out one line for each read, so each question has an answer.
            os.write(master, b"y\n" * QUESTIONS)
            self._send(f". '{self._script}' <'{source}'; touch '{self._done}'")
            while not self._done.exists() and self._process.poll() is None and time.monotonic() < started + LIMIT:
                time.sleep(0.05)
        finally:
            os.close(master)
            os.close(slave)
        self._log.seek(begin)
        output = self._log.read()
        if not self._done.exists():
            raise AssertionError(f"these commands failed or took longer than {LIMIT} s:\n{block}\n{output[-4000:]}")
        print(f"deploy: {time.monotonic() - started:.0f} s for {str(block).strip()}", file=sys.stderr, flush=True)
        return output

    def close(self) -> None:
        """Ends the shell and its commands."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _send(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
