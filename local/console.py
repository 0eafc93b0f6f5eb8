"""Messages to the user on stderr: one line for each phase, with the time since the start."""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STARTED = time.monotonic()


class Failure(Exception):
    """An error with a message for the user, and the exit code of the program."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def say(message: str) -> None:
    """Prints one line with the time since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    print(f"[{minutes:02}:{seconds:02}] {message}", file=sys.stderr, flush=True)


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    what: str,
    stdout: int | None = None,
    log: Path | None = None,
) -> str:
    """Runs a program and returns its standard output if ``stdout`` is a pipe.

    With ``log``, both its outputs go to that file, and the last lines are shown if it fails. Raises Failure with the
    exit code of the program.
    """
    command = [str(part) for part in command]
    if log is None:
        done = subprocess.run(command, env=environment, stdout=stdout, text=True, check=False)
    else:
        with log.open("w") as file:
            done = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        return done.stdout or ""
    if log is not None:
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-40:]), file=sys.stderr)
    # The code is negative if a signal ended the program; shells return 128 + signal.
    code = done.returncode if done.returncode > 0 else 128 - done.returncode
    where = f"; its output is in {log}; run 'make down' to start with a new stack" if log else ""
    raise Failure(f"{what} ended with exit code {code}: {' '.join(command)}{where}", code)
