"""A simulated S3 over a folder: conditional puts, and requests that take about as long as on S3.

Without S3's latency, compactors would not meet each other as they do on AWS, where they wait most of the time. Requests
are counted and timed by kind. Only the operations that pinlake uses are implemented, and signatures are not checked.

Bucket `lake-3` has its own landing area and shares everything else with `lake`, so that compactors can have different
landing objects for the same tables.
"""

import bisect
import email.utils
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from bench.places import ROOT

# Milliseconds of a small request to S3 Standard in its region. Assumed, not measured.
S3_MS = {"PUT": 45.0, "GET": 20.0, "HEAD": 20.0, "LIST": 45.0, "DELETE": 45.0}
PAGE = 1000
SHARED = "lake"


class Objects:
    """The files of the folder, with a sorted list of their keys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.keys = sorted(self._walk(root))
        self._numbers = itertools.count()

    @staticmethod
    def _walk(root: Path) -> list[str]:
        start = len(str(root)) + 1
        return [f"{folder}/{name}"[start:] for folder, _, names in os.walk(root) for name in names]

    def get(self, key: str) -> bytes | None:
        """The bytes of an object; None if it does not exist."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, data: bytes, *, only_if_absent: bool) -> bool:
        """Stores an object; returns False if `only_if_absent` and it exists."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"{path.name}#{next(self._numbers)}")
        staged.write_bytes(data)
        with self.lock:
            is_new = not path.exists()
            if only_if_absent and not is_new:
                staged.unlink()
                return False
            staged.rename(path)
            if is_new:
                bisect.insort(self.keys, key)
            return True

    def delete(self, keys: list[str]) -> None:
        """Deletes objects. Missing ones are ignored."""
        with self.lock:
            gone = {key for key in keys if (self.root / key).exists()}
            for key in gone:
                (self.root / key).unlink()
            if gone:
                # In one slice: each single removal would move half of a list of a million keys.
                begin, end = bisect.bisect_left(self.keys, min(gone)), bisect.bisect_right(self.keys, max(gone))
                self.keys[begin:end] = [key for key in self.keys[begin:end] if key not in gone]

    def page(self, prefix: str, after: str, max_keys: int) -> tuple[list[str], bool]:
        """At most `max_keys` keys with a prefix after the key `after`, and whether there are more."""
        with self.lock:
            first = max(bisect.bisect_left(self.keys, prefix), bisect.bisect_right(self.keys, after))
            found = self.keys[first : first + max_keys + 1]
        found = [key for key in found if key.startswith(prefix)]
        return found[:max_keys], len(found) > max_keys


class Requests:
    """Counts requests and their seconds by kind, and delays each to its minimum time."""

    def __init__(self, milliseconds: dict[str, float]) -> None:
        self.milliseconds = milliseconds
        self.lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Resets the counters."""
        self.count: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def finish(self, kind: str, key: str, started: float) -> None:
        """Waits until a request has taken its minimum time, and counts it by kind and part of the lake."""
        time.sleep(max(0.0, started + self.milliseconds.get(kind, 0.0) / 1e3 - time.monotonic()))
        what = f"{kind} {key.split('/')[1]}"
        with self.lock:
            self.count[what] += 1
            self.seconds[what] += time.monotonic() - started


def file_size(file: Path) -> int:
    """Size in bytes; 0 if another compactor deleted the file since it was listed."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def build_handler(objects: Objects, requests: Requests) -> type[BaseHTTPRequestHandler]:
    """Builds the request handler for the operations that pinlake uses (Amazon S3 API Reference)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Send a response as one packet: a second one would wait for the acknowledgement of the first.
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def handle_one_request(self) -> None:
            self.started = 0.0
            super().handle_one_request()

        def parse_request(self) -> bool:
            self.started = time.monotonic()
            parsed = super().parse_request()
            if parsed:
                path, _, query = self.path.partition("?")
                self.bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
                self.key = self.storage_key(key)
                self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            return parsed

        def storage_key(self, key: str) -> str:
            return f"{self.bucket if key.startswith('landing/') else SHARED}/{key}"

        def do_GET(self) -> None:
            if self.key == f"{SHARED}/" and "list-type" in self.query:
                return self.list_page()
            if self.bucket == "-requests":
                counts = {kind: [count, requests.seconds[kind]] for kind, count in requests.count.items()}
                requests.reset()
                return self.respond(200, json.dumps(counts).encode())
            data = objects.get(self.key)
            requests.finish("GET", self.key, self.started)
            if data is None:
                return self.respond_with_error(404, "NoSuchKey")
            etag, requested = self.etag(data), self.headers.get("Range")
            if not requested:
                return self.respond(200, data, ETag=etag)
            first, last = requested.removeprefix("bytes=").split("-")
            begin = int(first) if first else len(data) - int(last)
            end = min(int(last) + 1, len(data)) if first and last else len(data)
            content_range = f"bytes {begin}-{end - 1}/{len(data)}"
            return self.respond(206, data[begin:end], ETag=etag, Content_Range=content_range)

        def do_HEAD(self) -> None:
            data = objects.get(self.key)
            requests.finish("HEAD", self.key, self.started)
            return self.respond(404) if data is None else self.respond(200, data, ETag=self.etag(data))

        def do_PUT(self) -> None:
            data = self.read_body()
            # If-Match is ignored: no other writer moves a watermark here.
            put = objects.put(self.key, data, only_if_absent="If-None-Match" in self.headers)
            if "X-Free" not in self.headers:
                requests.finish("PUT", self.key, self.started)
            return (
                self.respond(200, ETag=self.etag(data)) if put else self.respond_with_error(412, "PreconditionFailed")
            )

        def do_DELETE(self) -> None:
            objects.delete([self.key])
            requests.finish("DELETE", self.key, self.started)
            self.respond(204)

        def do_POST(self) -> None:
            keys = [
                item.text or "" for item in ElementTree.fromstring(self.read_body()).iter() if item.tag.endswith("Key")
            ]
            objects.delete([self.storage_key(key) for key in keys])
            requests.finish("DELETE", self.storage_key(keys[0]), self.started)
            self.respond(200, b"<DeleteResult/>")

        def list_page(self) -> None:
            prefix = self.storage_key(self.query.get("prefix", ""))
            start = len(prefix.split("/")[0]) + 1
            after = self.query.get("continuation-token") or self.query.get("start-after") or ""
            keys, more = objects.page(prefix, prefix[:start] + after, int(self.query.get("max-keys", PAGE)))
            when = "2022-01-01T00:00:00.000Z"
            contents = "".join(
                f"<Contents><Key>{escape(key[start:])}</Key><LastModified>{when}</LastModified>"
                f"<Size>{file_size(objects.root / key)}</Size></Contents>"
                for key in keys
            )
            token = f"<NextContinuationToken>{escape(keys[-1][start:])}</NextContinuationToken>" if more else ""
            requests.finish("LIST", prefix, self.started)
            body = (
                f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
            )
            self.respond(200, body.encode())

        def read_body(self) -> bytes:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
                return data
            whole = b""
            while chunk_size := int(data.partition(b"\r\n")[0].partition(b";")[0], 16):
                data = data.partition(b"\r\n")[2]
                whole, data = whole + data[:chunk_size], data[chunk_size + 2 :]
            return whole

        def etag(self, data: bytes) -> str:
            return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'

        def respond_with_error(self, status: int, code: str) -> None:
            self.respond(status, f"<Error><Code>{code}</Code></Error>".encode())

        def respond(self, status: int, data: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            self.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class Bucket:
    """The server in a separate process. Leaving the context stops it."""

    def __init__(self, root: Path, milliseconds: dict[str, float]) -> None:
        command = [sys.executable, "-m", "bench.bucket", str(root), json.dumps(milliseconds)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.endpoint = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Puts an object without delay and without counting it, for the benchmark itself."""
        url = f"{self.endpoint}/{bucket}/{urllib.parse.quote(key)}"
        request = urllib.request.Request(url, data, {"X-Free": "1"}, method="PUT")
        urllib.request.urlopen(request, timeout=60).read()

    def requests(self) -> dict[str, Any]:
        """[count, seconds] of each kind since the previous call."""
        return json.loads(urllib.request.urlopen(f"{self.endpoint}/-requests/all", timeout=60).read())

    @property
    def cpu_s(self) -> float:
        """CPU seconds of the server, which shares the processors with the measured programs."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(root: str, milliseconds: str) -> None:
    """Serves a folder until the process is stopped."""
    served = build_handler(Objects(Path(root)), Requests(json.loads(milliseconds)))
    # A connection that exceeds the backlog is retried a second later, which would be measured.
    ThreadingHTTPServer.request_queue_size = 512
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
