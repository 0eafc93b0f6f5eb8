"""S3 on this machine, over a folder: one conditional put wins, and every request takes about as long as S3 takes.

A folder answers in microseconds, the local stand-in by what its one process can do. Neither shows what compactors do to
each other while they wait, which is most of their time on AWS. Requests are counted and timed by their kind. It knows
what pinlake asks for and no more, and checks no signature.

A bucket `lake-3` has a landing area of its own, and all else in common with `lake`: so compactors can be given
different work on the same tables.
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

# Milliseconds until S3 Standard has answered a small request in its region. Not measured here: what is commonly seen.
S3_MS = {"PUT": 45.0, "GET": 20.0, "HEAD": 20.0, "LIST": 45.0, "DELETE": 45.0}
PAGE = 1000
SHARED = "lake"


class Objects:
    """The folder's files by their keys, in order."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.keys = sorted(self._walk(root))
        self._numbers = itertools.count()

    @staticmethod
    def _walk(root: Path) -> list[str]:
        cut = len(str(root)) + 1
        return [f"{folder}/{name}"[cut:] for folder, _, names in os.walk(root) for name in names]

    def get(self, key: str) -> bytes | None:
        """An object's bytes."""
        try:
            return (self.root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, key: str, data: bytes, *, only_if_absent: bool) -> bool:
        """Whether the object was put."""
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
        """Removes objects, those that are there."""
        with self.lock:
            gone = {key for key in keys if (self.root / key).exists()}
            for key in gone:
                (self.root / key).unlink()
            if gone:
                # At once: of a million keys each that is removed by itself moves half of the list.
                begin, end = bisect.bisect_left(self.keys, min(gone)), bisect.bisect_right(self.keys, max(gone))
                self.keys[begin:end] = [key for key in self.keys[begin:end] if key not in gone]

    def page(self, prefix: str, after: str, most: int) -> tuple[list[str], bool]:
        """The first keys of a prefix behind another key, and whether there are more."""
        with self.lock:
            first = max(bisect.bisect_left(self.keys, prefix), bisect.bisect_right(self.keys, after))
            found = self.keys[first : first + most + 1]
        found = [key for key in found if key.startswith(prefix)]
        return found[:most], len(found) > most


class Requests:
    """How many of each kind, and their seconds; and how long each is to take at least."""

    def __init__(self, milliseconds: dict[str, float]) -> None:
        self.milliseconds = milliseconds
        self.lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Counts from nothing."""
        self.count: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def done(self, kind: str, key: str, begun: float) -> None:
        """Waits until a request has taken its time, and counts it by its kind and the part of the lake."""
        time.sleep(max(0.0, begun + self.milliseconds.get(kind, 0.0) / 1e3 - time.monotonic()))
        what = f"{kind} {key.split('/')[1]}"
        with self.lock:
            self.count[what] += 1
            self.seconds[what] += time.monotonic() - begun


def size(file: Path) -> int:
    """Its bytes; none when another compactor has removed it since it was listed."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def handler(objects: Objects, requests: Requests) -> type[BaseHTTPRequestHandler]:
    """The API's requests that pinlake makes (Amazon S3 API Reference)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # An answer is one packet, or the next one waits for the first to be acknowledged.
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def handle_one_request(self) -> None:
            self.begun = 0.0
            super().handle_one_request()

        def parse_request(self) -> bool:
            self.begun = time.monotonic()
            parsed = super().parse_request()
            if parsed:
                path, _, query = self.path.partition("?")
                self.bucket, _, key = urllib.parse.unquote(path).lstrip("/").partition("/")
                self.key = self.place(key)
                self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            return parsed

        def place(self, key: str) -> str:
            return f"{self.bucket if key.startswith('landing/') else SHARED}/{key}"

        def do_GET(self) -> None:
            if self.key == f"{SHARED}/" and "list-type" in self.query:
                return self.list()
            if self.bucket == "-requests":
                answer = {kind: [count, requests.seconds[kind]] for kind, count in requests.count.items()}
                requests.forget()
                return self.answer(200, json.dumps(answer).encode())
            data = objects.get(self.key)
            requests.done("GET", self.key, self.begun)
            if data is None:
                return self.failed(404, "NoSuchKey")
            etag, asked = self.etag(data), self.headers.get("Range")
            if not asked:
                return self.answer(200, data, ETag=etag)
            first, last = asked.removeprefix("bytes=").split("-")
            begin = int(first) if first else len(data) - int(last)
            end = min(int(last) + 1, len(data)) if first and last else len(data)
            about = f"bytes {begin}-{end - 1}/{len(data)}"
            return self.answer(206, data[begin:end], ETag=etag, Content_Range=about)

        def do_HEAD(self) -> None:
            data = objects.get(self.key)
            requests.done("HEAD", self.key, self.begun)
            return self.answer(404) if data is None else self.answer(200, data, ETag=self.etag(data))

        def do_PUT(self) -> None:
            data = self.body()
            # A watermark is moved only from what was read. Nobody else moves one here.
            put = objects.put(self.key, data, only_if_absent="If-None-Match" in self.headers)
            if "X-Free" not in self.headers:
                requests.done("PUT", self.key, self.begun)
            return self.answer(200, ETag=self.etag(data)) if put else self.failed(412, "PreconditionFailed")

        def do_DELETE(self) -> None:
            objects.delete([self.key])
            requests.done("DELETE", self.key, self.begun)
            self.answer(204)

        def do_POST(self) -> None:
            keys = [item.text or "" for item in ElementTree.fromstring(self.body()).iter() if item.tag.endswith("Key")]
            objects.delete([self.place(key) for key in keys])
            requests.done("DELETE", self.place(keys[0]), self.begun)
            self.answer(200, b"<DeleteResult/>")

        def list(self) -> None:
            prefix = self.place(self.query.get("prefix", ""))
            cut = len(prefix.split("/")[0]) + 1
            after = self.query.get("continuation-token") or self.query.get("start-after") or ""
            keys, more = objects.page(prefix, prefix[:cut] + after, int(self.query.get("max-keys", PAGE)))
            when = "2022-01-01T00:00:00.000Z"
            contents = "".join(
                f"<Contents><Key>{escape(key[cut:])}</Key><LastModified>{when}</LastModified>"
                f"<Size>{size(objects.root / key)}</Size></Contents>"
                for key in keys
            )
            token = f"<NextContinuationToken>{escape(keys[-1][cut:])}</NextContinuationToken>" if more else ""
            requests.done("LIST", prefix, self.begun)
            body = (
                f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{contents}{token}</ListBucketResult>"
            )
            self.answer(200, body.encode())

        def body(self) -> bytes:
            data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
                return data
            whole = b""
            while size := int(data.partition(b"\r\n")[0].partition(b";")[0], 16):
                data = data.partition(b"\r\n")[2]
                whole, data = whole + data[:size], data[size + 2 :]
            return whole

        def etag(self, data: bytes) -> str:
            return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'

        def failed(self, status: int, code: str) -> None:
            self.answer(status, f"<Error><Code>{code}</Code></Error>".encode())

        def answer(self, status: int, data: bytes = b"", **head: str) -> None:
            self.send_response(status)
            self.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
            for name, value in head.items():
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
    """The server, in a process of its own. As a context manager it ends it."""

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
        """Puts an object at no cost: what the bench itself does is not to be measured."""
        url = f"{self.endpoint}/{bucket}/{urllib.parse.quote(key)}"
        request = urllib.request.Request(url, data, {"X-Free": "1"}, method="PUT")
        urllib.request.urlopen(request, timeout=60).read()

    def requests(self) -> dict[str, Any]:
        """[count, seconds] of each kind since the last time."""
        return json.loads(urllib.request.urlopen(f"{self.endpoint}/-requests/all", timeout=60).read())

    @property
    def cpu_s(self) -> float:
        """What the server has taken: it shares the processors with those that it serves."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(root: str, milliseconds: str) -> None:
    """Serves a folder until it is ended."""
    served = handler(Objects(Path(root)), Requests(json.loads(milliseconds)))
    # A connection that finds no room tries again a second later, which would be measured.
    ThreadingHTTPServer.request_queue_size = 512
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
