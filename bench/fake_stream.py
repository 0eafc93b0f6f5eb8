"""A Kinesis endpoint that takes everything at once and remembers how long it took: what is to be taken off a request's
time to see the function's own.

A process of its own, so that it does not share an interpreter with the runtime API. It reads no record: it counts them.
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
# In the request, base64 holds no quotes and pinlake's keys neither.
_A_RECORD = b'"PartitionKey":'
_SHARD = "shardId-000000000000"


class FakeStream:
    """The endpoint, as the process that measures sees it."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"
        self._pipe = pipe

    def waits_ms(self) -> list[float]:
        """Of each call since the last time this was asked: from having all of it to having sent the answer."""
        self._pipe.send("waits")
        return self._pipe.recv()


@contextmanager
def fake_stream() -> Iterator[FakeStream]:
    """The endpoint while it runs."""
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
        threading.Thread(target=_connection, args=(connection, waits), daemon=True).start()


def _connection(connection: socket.socket, waits: list[float]) -> None:
    """Answers one call after the other. Plain sockets: http.server's own parsing would be in the function's time."""
    room = bytearray(8 << 20)
    view = memoryview(room)
    while True:
        have, end = 0, -1
        while end < 0:
            got = connection.recv_into(view[have:])
            if not got:
                return
            have += got
            end = room.find(b"\r\n\r\n", 0, have)
        length = int(_LENGTH.search(room, 0, end + 2).group(1))
        while have < end + 4 + length:
            got = connection.recv_into(view[have:])
            if not got:
                return
            have += got
        received = time.monotonic_ns()
        connection.sendall(_answer(room.count(_A_RECORD, end, have)))
        waits.append((time.monotonic_ns() - received) / 1e6)


def _answer(records: int) -> bytes:
    first = time.time_ns()
    entries = ",".join(
        f'{{"SequenceNumber":"4966{number:052d}","ShardId":"{_SHARD}"}}' for number in range(first, first + records)
    )
    body = f'{{"FailedRecordCount":0,"Records":[{entries}]}}'.encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
