"""A trigger queue for one compactor: accepts the messages that it sends itself, and returns them as events."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from bench.events import sqs_message


class TriggerQueue:
    """Implements SendMessage of SQS over HTTP (Amazon SQS API Reference) and stores the messages."""

    def __init__(self) -> None:
        self._sent: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def settings(self) -> dict[str, str]:
        """Environment variables with the queue's address."""
        endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {"AWS_ENDPOINT_URL_SQS": endpoint, "PINLAKE_QUEUE_URL": f"{endpoint}/000000000000/triggers"}

    def receive_all(self) -> dict[str, Any] | None:
        """Removes all messages and returns them as one event; None if there are none."""
        sent, self._sent = self._sent, []
        return sqs_event(*sent) if sent else None

    def _handler(queue) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["MessageBody"]
                queue._sent.append(body)
                digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
                answer = json.dumps({"MessageId": str(len(queue._sent)), "MD5OfMessageBody": digest}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def sqs_event(*bodies: str) -> dict[str, Any]:
    """The event of messages with these bodies."""
    return {"Records": [sqs_message(str(number), "1", body) for number, body in enumerate(bodies)]}
