"""The queue of wake-ups, as far as the compactor needs it: it sends itself a message, and is then woken by it."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from bench.events import sqs_message


class TriggerQueue:
    """SQS' SendMessage over HTTP (Amazon SQS API Reference), and what was sent."""

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
        """What a function is told so that it finds the queue."""
        endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        return {"AWS_ENDPOINT_URL_SQS": endpoint, "PINLAKE_QUEUE_URL": f"{endpoint}/000000000000/wake-ups"}

    def take(self) -> dict[str, Any] | None:
        """All messages as one event; None when there are none."""
        sent, self._sent = self._sent, []
        return event(*sent) if sent else None

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


def event(*bodies: str) -> dict[str, Any]:
    """Messages as Lambda hands them to the compactor."""
    return {"Records": [sqs_message(str(number), "1", body) for number, body in enumerate(bodies)]}
