"""The stand-in's process: ministack on 127.0.0.1, one for each checkout.

``target/demo/ministack.json`` has the process id and the endpoint. Process ids are reused, so a process counts as ours
only if its command line is the ministack of this checkout.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from local.console import Failure, say
from local.places import FUNCTIONS_ENV, HOST, REGION, ROOT, STACK_JSON, STATE, VENV_BIN, environment, port

_PROGRAM = VENV_BIN / "ministack"
_RECORD = STATE / "ministack.json"
_LOG = STATE / "ministack.log"
_SCRATCH = STATE / "scratch"
_KEPT = STATE / "kept"

_START_SECONDS = 60
_STOP_SECONDS = 15


@dataclass(frozen=True)
class StandIn:
    """A running stand-in."""

    pid: int
    endpoint: str


def running() -> StandIn | None:
    """The stand-in that this checkout started, if it still runs."""
    try:
        record = json.loads(_RECORD.read_text())
        found = StandIn(pid=int(record["pid"]), endpoint=str(record["endpoint"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return found if str(_PROGRAM) in _command_line(found.pid) else None


def start(keeping: bool = False) -> StandIn:
    """Starts the stand-in, or returns the running one. Raises Failure if another program uses its port.

    ``keeping``: its data survives :func:`restart`. All but the objects is written on SIGTERM only: a crash loses it.
    """
    found = running()
    if found:
        if not _answers(found.endpoint):
            raise Failure(f"the stand-in (process {found.pid}) is silent at {found.endpoint}; run 'make down' first")
        say(f"the local AWS stand-in already runs at {found.endpoint} (process {found.pid})")
        return found
    at = port()
    with socket.socket() as probe:
        if probe.connect_ex((HOST, at)) == 0:
            raise Failure(
                f"another program listens on {HOST}:{at}; stop it, or name a free port: PINLAKE_PORT={at + 34} make ..."
            )
    # An earlier stand-in kept its state in memory.
    _forget()
    shutil.rmtree(_KEPT, ignore_errors=True)
    # Kept, because it may explain why the previous one ended.
    if _LOG.exists():
        os.replace(_LOG, _LOG.with_suffix(".previous.log"))
    return _launch(at, keeping)


def restart() -> StandIn:
    """Stops the stand-in and its functions, and starts it again with its data."""
    found = running()
    if not found:
        raise Failure("there is no stand-in to restart")
    _end(found)
    return _launch(port(), keeping=True)


def _launch(at: int, keeping: bool) -> StandIn:
    endpoint = f"http://{HOST}:{at}"
    shutil.rmtree(_SCRATCH, ignore_errors=True)
    _SCRATCH.mkdir(parents=True)
    settings = environment(endpoint) | {
        "GATEWAY_PORT": str(at),
        "BIND_HOST": HOST,
        "IOT_MTLS_ENABLED": "0",
        # The end of the domain names of function URLs, which cannot be an IP address.
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": REGION,
        # It keeps the functions' code and its own process id in the temporary folder.
        "TMPDIR": str(_SCRATCH),
        "PYTHONUNBUFFERED": "1",
        # Its Athena formats times in the zone of the machine.
        "TZ": "UTC",
    }
    if keeping:
        settings |= {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(_KEPT / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(_KEPT / "objects"),
        }
    with _LOG.open("a") as log:
        process = subprocess.Popen(
            [_PROGRAM],
            cwd=ROOT,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Its own process group: Ctrl-C in the demo does not stop it, and stop() ends the functions with it.
            start_new_session=True,
        )
    _RECORD.write_text(json.dumps({"pid": process.pid, "endpoint": endpoint}) + "\n")
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(endpoint):
        if process.poll() is not None:
            _RECORD.unlink(missing_ok=True)
            raise Failure(f"the stand-in ended at once with exit code {process.returncode}; see {_LOG}")
        if time.monotonic() > deadline:
            stop()
            raise Failure(f"the stand-in did not answer at {endpoint} within {_START_SECONDS} s; see {_LOG}")
        time.sleep(0.1)
    say(f"started the local AWS stand-in at {endpoint} (process {process.pid}, log {_LOG.relative_to(ROOT)})")
    return StandIn(pid=process.pid, endpoint=endpoint)


def stop() -> None:
    """Stops the stand-in that this checkout started, and its functions."""
    found = running()
    if found:
        _end(found)
        say(f"stopped the local AWS stand-in (process {found.pid}) and deleted its data")
    else:
        say("no local AWS stand-in of this checkout runs")
    _RECORD.unlink(missing_ok=True)
    _forget()
    shutil.rmtree(_SCRATCH, ignore_errors=True)
    shutil.rmtree(_KEPT, ignore_errors=True)


def _end(found: StandIn) -> None:
    _signal_group(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _group_lives(found.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    if _group_lives(found.pid):
        _signal_group(found.pid, signal.SIGKILL)


def _forget() -> None:
    for file in (STACK_JSON, FUNCTIONS_ENV):
        file.unlink(missing_ok=True)


def _answers(endpoint: str) -> bool:
    """Whether the stand-in is healthy. The request uses no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/_ministack/health", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def _command_line(pid: int) -> str:
    """The command line of a process; empty if there is no such process."""
    proc = Path(f"/proc/{pid}")
    if Path("/proc/self").exists():
        try:
            if "\nState:\tZ" in (proc / "status").read_text():
                return ""
            return (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""
    asked = subprocess.run(["ps", "-ww", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return asked.stdout


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _group_lives(pid: int) -> bool:
    # Reaps the process if it is a child of this one, as after a failed start.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.killpg(pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
