"""A local Lambda runtime API: starts a function's program, sends it events and receives its responses.

A call's CPU time is that of the program's threads, as the kernel accounts it. Its wall time is from sending the event
to receiving the response (Lambda Developer Guide, "Using the Lambda runtime API").
"""

import json
import os
import queue
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass
class Call:
    """The response to an event, and its cost."""

    answer: Any
    wall_ms: float
    cpu_ms: float
    log_bytes: int


class Function:
    """A function's program under the runtime API. Leaving the context stops the program."""

    def __init__(
        self, program: Path, environment: dict[str, str], memory_mb: int, *, time_limit_s: float = 900
    ) -> None:
        self._time_limit_s = time_limit_s
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[tuple[float, Any]] = queue.Queue()
        self._ready = threading.Event()
        self._ready_at = self._handed_at = 0.0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        host, port = self._server.server_address[:2]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115, closed with the program
        settings = {
            "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": program.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
            "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
            "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RUST_LOG": "info,delta_kernel=warn",
        }
        begun = time.monotonic()
        self._process = subprocess.Popen(
            [program], env=settings | environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log
        )
        if not self._ready.wait(60):
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"{program.name} did not ask for an event:\n{self.log_tail()}")
        self.cold_start_ms = (self._ready_at - begun) * 1e3
        self.cold_start_cpu_ms = self._cpu_ms()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._server.shutdown()
        self._server.server_close()
        self._log.close()

    def log(self) -> str:
        """The program's log so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def log_tail(self) -> str:
        """The end of the log."""
        return self.log()[-2000:]

    @property
    def peak_rss_mb(self) -> float:
        """Peak resident memory of the program in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024

    def call(self, event: Any, *, seconds: float = 900) -> Call:
        """Sends an event and waits for the response."""
        cpu, logged = self._cpu_ms(), os.fstat(self._log.fileno()).st_size
        number = f"{time.monotonic_ns():032d}"
        self._events.put(
            (f"{number[:8]}-{number[8:12]}-{number[12:16]}-{number[16:20]}-{number[20:]}", json.dumps(event).encode())
        )
        at, answer = self._answers.get(timeout=seconds)
        # The program writes its metrics before it responds, but its threads may still use CPU.
        time.sleep(0.002)
        log_bytes = os.fstat(self._log.fileno()).st_size - logged
        return Call(answer, (at - self._handed_at) * 1e3, self._cpu_ms() - cpu, log_bytes)

    @property
    def cpu_s(self) -> float:
        """CPU seconds since the program started."""
        return self._cpu_ms() / 1e3

    def _cpu_ms(self) -> float:
        """CPU time of all threads in milliseconds, with nanosecond resolution."""
        total = 0
        for thread in Path(f"/proc/{self._process.pid}/task").iterdir():
            try:
                total += int((thread / "schedstat").read_text().split()[0])
            except OSError:
                continue
        return total / 1e6

    def _handler(function) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes. Nagle's algorithm would delay the second until the first is acknowledged,
            # which the client delays by 40 ms.
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if not function._ready.is_set():
                    function._ready_at = time.monotonic()
                    function._ready.set()
                request, event = function._events.get()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + function._time_limit_s) * 1000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:0:function:bench")
                self.send_header("Lambda-Runtime-Trace-Id", "Root=1-0-0")
                self.send_header("Content-Length", str(len(event)))
                function._handed_at = time.monotonic()
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                at = time.monotonic()
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                function._answers.put((at, json.loads(body) if body else None))

            def log_message(self, *_: object) -> None:
                pass

        return Handler
