"""Serves the function `report` over HTTP, as a function URL does, and stores results as the function analysis does."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bench.runtime import Function


def store_run(lake: Path, run: str, results: dict[str, Any], sql: dict[str, str]) -> None:
    """Stores the results of a run with their history. The tests of shared/results describe the form."""
    (lake / "results" / "runs").mkdir(parents=True, exist_ok=True)
    (lake / "results" / "history").mkdir(exist_ok=True)
    stored = {name: result | {"sql": sql[name], "seconds": 0.0125} for name, result in results.items()}
    (lake / "results" / "runs" / f"{run}.json").write_text(json.dumps(stored), "utf-8")
    for name, result in results.items():
        file = lake / "results" / "history" / f"{name}.json"
        history = json.loads(file.read_text("utf-8")) if file.exists() else []
        columns = [
            (column, [row[index] for row in result["rows"] if row[index] is not None])
            for index, column in enumerate(result["columns"])
        ]
        largest = {
            column: max(cells)
            for column, cells in columns
            if cells and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in cells)
        }
        digest = hashlib.sha256(json.dumps([result["columns"], result["rows"]]).encode()).hexdigest()[:16]
        past = {"run": run, "rows": len(result["rows"]), "largest": largest, "digest": digest}
        file.write_text(json.dumps([*history, past | {"versions": result["versions"], "seconds": 0.0125}]), "utf-8")
    (lake / "results" / "latest.json").write_text(json.dumps({"run": run}), "utf-8")


@contextmanager
def served(program: Path, lake: Path, **settings: str) -> Iterator[str]:
    """Runs the function over a lake in a folder. Gives the URL of the page."""
    with Function(program, {"PINLAKE_LAKE": str(lake), "PINLAKE_TITLE": "Served"} | settings, 1024) as function:
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                with lock:
                    answer = function.call(to_event(self), seconds=60).answer
                body = answer.get("body") or ""
                content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
                self.send_response(answer["statusCode"])
                for name, value in answer["headers"].items():
                    self.send_header(name, value)
                for cookie in answer.get("cookies") or []:
                    self.send_header("Set-Cookie", cookie)
                if answer["statusCode"] != 304:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        # Browsers accept cookies that are for encrypted connections from this name.
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()
        server.server_close()


def to_event(request: BaseHTTPRequestHandler) -> dict[str, Any]:
    """The event of a function URL for a request (Lambda Developer Guide, "Invoking Lambda function URLs")."""
    url = urlsplit(request.path)
    headers = {name.lower(): value for name, value in request.headers.items()}
    cookies = headers.pop("cookie", None)
    body = request.rfile.read(int(headers.get("content-length", 0)))
    http = {"method": request.command, "path": url.path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    context = {
        "accountId": "anonymous",
        "apiId": "a1b2c3",
        "domainName": "localhost",
        "domainPrefix": "a1b2c3",
        "http": http | {"userAgent": headers.get("user-agent", "")},
        "requestId": "request-1",
        "routeKey": "$default",
        "stage": "$default",
        "time": "01/Jan/1970:00:00:00 +0000",
        "timeEpoch": 0,
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": url.path,
        "rawQueryString": url.query,
        "queryStringParameters": dict(parse_qsl(url.query, keep_blank_values=True)),
        "cookies": cookies.split("; ") if cookies else [],
        "headers": headers,
        "requestContext": context,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
