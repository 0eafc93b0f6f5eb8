"""The processes of the functions, which are children of the stand-in. Needs Linux, because it reads /proc."""

import contextlib
import os
import signal
from pathlib import Path

_PROC = Path("/proc")
_ESTABLISHED = "01"


def functions(stand_in: int) -> dict[int, str]:
    """The ids of the processes, each with the name of its function."""
    found = {}
    for folder in _PROC.iterdir():
        if not folder.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name is in brackets and may contain any character; state and parent follow.
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) != stand_in or state == "Z":
                continue
            for setting in (folder / "environ").read_bytes().split(b"\0"):
                if setting.startswith(b"AWS_LAMBDA_FUNCTION_NAME="):
                    found[int(folder.name)] = setting.partition(b"=")[2].decode().removeprefix("pinlake-")
    return found


def asking(stand_in: int, port: int) -> tuple[int, str] | None:
    """The process that has a connection from this local port, and the name of its function."""
    inode = _inode(port)
    if inode is None:
        return None
    for pid, function in functions(stand_in).items():
        with contextlib.suppress(OSError):
            for handle in (_PROC / str(pid) / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(handle) == f"socket:[{inode}]":
                        return pid, function
    return None


def _inode(port: int) -> str | None:
    for line in (_PROC / "net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == _ESTABLISHED:
            return fields[9]
    return None


def kill(pid: int) -> bool:
    """Sends SIGKILL. Returns False if the process has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
