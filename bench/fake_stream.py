"""A fake Kinesis endpoint that accepts every PutRecords call and records how long each took.

The section ingest subtracts these times. The endpoint is a process of its own, so that it does not share an interpreter
with the runtime API. It counts records and does not parse them.
"""

import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# Neither base64 nor pinlake's partition keys contain quotes, so this occurs once for each record.
_RECORD_MARK = b'"PartitionKey":'
_SHARD = "shardId-000000000000"


class FakeStream:
    """The endpoint, as seen by the measuring process."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._pipe = pipe

    def take_waits_ms(self) -> list[float]:
        """Milliseconds of each call since the previous `take_waits_ms`: from the complete request to the response."""
        self._pipe.send("waits")
        return self._pipe.recv()


@contextmanager
def fake_stream() -> Iterator[FakeStream]:
    """Runs the endpoint."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield FakeStream(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def _serve(pipe: Connection) -> None:
    waits: list[float] = []
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(server, waits), daemon=True).start()
    pipe.send(server.getsockname()[1])
    while pipe.recv():
        pipe.send(list(waits))
        waits.clear()


def _accept(server: socket.socket, waits: list[float]) -> None:
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_connection, args=(connection, waits), daemon=True).start()


def _serve_connection(connection: socket.socket, waits: list[float]) -> None:
    """Answers calls. Plain sockets, because the parsing of http.server would count as the function's time."""
    buffer = bytearray(8 << 20)
    view = memoryview(buffer)
    while True:
        filled, end = 0, -1
        while end < 0:
            received_bytes = connection.recv_into(view[filled:])
            if not received_bytes:
                return
            filled += received_bytes
            end = buffer.find(b"\r\n\r\n", 0, filled)
        length = int(_LENGTH.search(buffer, 0, end + 2).group(1))
        while filled < end + 4 + length:
            received_bytes = connection.recv_into(view[filled:])
            if not received_bytes:
                return
            filled += received_bytes
        received = time.monotonic_ns()
        connection.sendall(_response(buffer.count(_RECORD_MARK, end, filled)))
        waits.append((time.monotonic_ns() - received) / 1e6)


def _response(records: int) -> bytes:
    first = time.time_ns()
    entries = ",".join(
        f'{{"SequenceNumber":"4966{number:052d}","ShardId":"{_SHARD}"}}' for number in range(first, first + records)
    )
    body = f'{{"FailedRecordCount":0,"Records":[{entries}]}}'.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
