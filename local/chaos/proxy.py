"""An HTTP proxy between the functions and the stand-in that fails as networks and AWS do.

It supports what the SDKs need here: HTTP/1.1, bodies that fit in memory, one connection to the stand-in per request.
"""

import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
from dataclasses import dataclass, field

from local.chaos import processes
from local.chaos.faults import Faults
from local.places import HOST

_LARGEST_HEAD = 1 << 17
_ANY = ["slow", "refused", "connection reset", "answer lost", "answer is an error", "killed before", "killed after"]
_S3_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


@dataclass
class Message:
    """A request or a response: the first line, headers in lower case, the body, and the body as it was sent."""

    first: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    framing: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """The value of a header; empty if it is missing."""
        return next((value for known, value in self.headers if known == name), "")

    def wire(self) -> bytes:
        """The bytes to send."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"{self.first}\r\n{head}\r\n".encode("latin-1") + self.framing

    def with_body(self, body: bytes) -> "Message":
        """The same with another body."""
        headers = [(name, value) for name, value in self.headers if name not in ("content-length", "transfer-encoding")]
        return Message(self.first, [*headers, ("content-length", str(len(body)))], body, body)


class Cut(Exception):
    """The connection must end without a response, or after a part of one."""

    def __init__(self, part: bytes = b"") -> None:
        super().__init__()
        self.part = part


class Proxy:
    """The proxy, in a thread of its own. ``target`` is the port of the stand-in; the caller sets ``stand_in``."""

    def __init__(self, faults: Faults, target: int) -> None:
        self._faults = faults
        self._target = target
        self._chance = faults.chance("proxy")
        self._loop = asyncio.new_event_loop()
        self._late: set[asyncio.Task[None]] = set()
        self.requests = 0
        self.stand_in = 0
        self.port = 0

    def start(self) -> str:
        """Starts listening and returns the address."""
        listening = threading.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._connection, HOST, 0, limit=_LARGEST_HEAD)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            await server.serve_forever()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(serve())

        threading.Thread(target=run, daemon=True, name="chaos-proxy").start()
        listening.wait(10)
        return f"http://{HOST}:{self.port}"

    @property
    def late(self) -> int:
        """The number of delayed puts that have not been sent yet."""
        return len(self._late)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await _read(reader, expects=writer)
                if request is None:
                    break
                self.requests += 1
                peer = writer.get_extra_info("peername")[1]
                answer = await self._answer(request, peer)
                writer.write(answer.wire())
                await writer.drain()
        except Cut as cut:
            writer.write(cut.part)
            with contextlib.suppress(OSError):
                await writer.drain()
            _reset(writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The function or the stand-in has closed its connection.
            _reset(writer)
        finally:
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, request: Message, peer: int) -> Message:
        service, operation, place = _what(request)
        # The guarantee depends on puts, which are only one request in ten.
        weight = 3 if operation == "PUT" else 1
        fault = self._faults.draw(self._chance, _possible(operation), weight)
        if fault is None:
            return await self._forward(request)
        at = f"{service} {operation}" + (f" {place}" if place else "")

        def struck() -> None:
            self._faults.strike("requests", fault, at, request.first)

        match fault:
            case "slow":
                struck()
                await asyncio.sleep(self._chance.uniform(0.1, 3))
                return await self._forward(request)
            case "refused":
                struck()
                return _refusal(service)
            case "connection reset":
                struck()
                raise Cut
            case "answer lost":
                await self._forward(request)
                struck()
                raise Cut
            case "answer is an error":
                await self._forward(request)
                struck()
                return _error(service)
            case "lands late":
                struck()
                self._later(request, self._chance.uniform(0.2, 6))
                raise Cut
            case "answer cut off":
                wire = (await self._forward(request)).wire()
                struck()
                raise Cut(wire[: self._chance.randrange(len(wire))])
            case "killed before" | "killed after":
                if fault == "killed after":
                    answer = await self._forward(request)
                    if self._kill(fault, peer, at):
                        raise Cut
                    return answer
                if self._kill(fault, peer, at):
                    raise Cut
                return await self._forward(request)
            case "records throttled":
                struck()
                return await self._throttle(request)
            case _:
                struck()
                return await self._deny(request)

    def _kill(self, fault: str, peer: int, at: str) -> bool:
        """Kills the process that sent the request."""
        found = processes.asking(self.stand_in, peer)
        if found is None or not processes.kill(found[0]):
            return False
        self._faults.strike(found[1], fault, at, f"process {found[0]}")
        return True

    def _later(self, request: Message, delay: float) -> None:
        async def land() -> None:
            await asyncio.sleep(delay)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._forward(request)

        task = self._loop.create_task(land())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _throttle(self, request: Message) -> Message:
        """Forwards some records of PutRecords and reports the others as throttled."""
        asked = json.loads(request.body)
        records = asked["Records"]
        denied = _some(self._chance, len(records))
        taken = [record for at, record in enumerate(records) if at not in denied]
        if not taken:
            return _json_error(400, "ProvisionedThroughputExceededException")
        answer = await self._forward(request.with_body(json.dumps(asked | {"Records": taken}).encode()))
        if not answer.first.startswith("HTTP/1.1 200"):
            return answer
        response = json.loads(answer.body)
        results = iter(response["Records"])
        response["Records"] = [_THROTTLED if at in denied else next(results) for at in range(len(records))]
        response["FailedRecordCount"] = len(denied)
        return answer.with_body(json.dumps(response).encode())

    async def _deny(self, request: Message) -> Message:
        """Forwards all records of PutRecords and reports some of them as failed."""
        answer = await self._forward(request)
        if not answer.first.startswith("HTTP/1.1 200"):
            return answer
        response = json.loads(answer.body)
        for at in _some(self._chance, len(response["Records"])):
            response["Records"][at] = {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}
        response["FailedRecordCount"] = sum("ErrorCode" in record for record in response["Records"])
        return answer.with_body(json.dumps(response).encode())

    async def _forward(self, request: Message) -> Message:
        reader, writer = await asyncio.open_connection(HOST, self._target, limit=_LARGEST_HEAD)
        try:
            writer.write(request.wire())
            await writer.drain()
            answer = await _read(reader, answers=request.first.partition(" ")[0])
            if answer is None:
                raise ConnectionResetError("the stand-in closed the connection")
            # The connection to the function stays open, whatever these headers say.
            answer.headers = [part for part in answer.headers if part[0] not in ("connection", "keep-alive")]
            return answer
        finally:
            writer.close()


_THROTTLED = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard."}


def _some(chance: random.Random, of: int) -> set[int]:
    """A random non-empty subset of the indices below ``of``."""
    return set(chance.sample(range(of), chance.randint(1, of)))


def _possible(operation: str) -> list[str]:
    match operation:
        case "PUT":
            return [*_ANY, "lands late"]
        case "GET":
            return [*_ANY, "answer cut off"]
        case "PutRecords":
            return [*_ANY, "records throttled", "records stored, said to have failed"]
        case _:
            return _ANY


def _what(request: Message) -> tuple[str, str, str]:
    """The service, operation and place of a request."""
    target = request.header("x-amz-target")
    if target:
        service, _, operation = target.rpartition(".")
        return ("SQS" if "SQS" in service else service.partition("_")[0]), operation, ""
    method, path, *_ = request.first.split()
    path, _, query = path.partition("?")
    key = path.lstrip("/").partition("/")[2]
    if not key:
        prefix = next((part[7:] for part in query.split("&") if part.startswith("prefix=")), "")
        return "S3", "list" if method == "GET" else "delete", _place(prefix.replace("%2F", "/"))
    return "S3", method, _place(key)


def _place(key: str) -> str:
    if "/_delta_log/" in f"{key}/":
        return "log"
    if "/_pinlake_keys/" in f"{key}/":
        return "keys"
    first = key.partition("/")[0]
    return {"tables": "data", "state": "watermark"}.get(first, first)


def _refusal(service: str) -> Message:
    if service == "S3":
        return _reply("503 Slow Down", "application/xml", _S3_ERROR.format(code="SlowDown"))
    throttled = "ProvisionedThroughputExceededException" if service == "Kinesis" else "ThrottlingException"
    return _json_error(400, throttled)


def _error(service: str) -> Message:
    if service == "S3":
        return _reply("500 Internal Server Error", "application/xml", _S3_ERROR.format(code="InternalError"))
    return _json_error(500, "InternalFailure")


def _json_error(status: int, code: str) -> Message:
    reason = "Bad Request" if status == 400 else "Internal Server Error"
    return _reply(f"{status} {reason}", "application/x-amz-json-1.1", json.dumps({"__type": code, "message": code}))


def _reply(status: str, kind: str, body: str) -> Message:
    return Message(f"HTTP/1.1 {status}", [("content-type", kind)]).with_body(body.encode())


async def _read(
    reader: asyncio.StreamReader, expects: asyncio.StreamWriter | None = None, answers: str = ""
) -> Message | None:
    """The next message; None at the end of the connection. ``answers``: the method of the request, for a response.
    ``expects``: receives 100 Continue, for a request."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as ended:
        if ended.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    message = Message(first, headers)
    if expects is not None and message.header("expect"):
        expects.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        message.headers = [(name, value) for name, value in headers if name != "expect"]
    if answers == "HEAD" or (answers and first.split()[1] in ("204", "304")):
        return message
    if "chunked" in message.header("transfer-encoding").lower():
        message.body, message.framing = await _chunks(reader)
    elif length := int(message.header("content-length") or 0):
        message.body = message.framing = await reader.readexactly(length)
    return message


async def _chunks(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A chunked body, decoded and as it was sent."""
    body, wire = [], []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        wire.append(line)
        if size == 0:
            while line != b"\r\n":
                line = await reader.readuntil(b"\r\n")
                wire.append(line)
            return b"".join(body), b"".join(wire)
        chunk = await reader.readexactly(size + 2)
        body.append(chunk[:-2])
        wire.append(chunk)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection with RST, as after a crash."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
