"""Checks `make smoke` with a stubbed CloudFormation, an HTTP server for ingest, and a script in place of pinlake.

`make check` runs it. What it does on a stack is not tested here.
"""

import contextlib
import io
import json
import os
import stat
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.stub import Stubber

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from deploy import post, records, smoke
from deploy.account import Account
from local.console import Failure
from local.places import ROOT, function_url

REGION = "eu-west-1"
SESSION = boto3.Session(aws_access_key_id="AKIA", aws_secret_access_key="secret", aws_session_token="token")
#: A stub of the program pinlake: `wait` requires acknowledgements, and `analyse` returns the counts in `COUNTS`.
PINLAKE = """#!{python} -IS
import json, os, pathlib, re, sys
command, arguments = sys.argv[1], dict(zip(sys.argv[2::2], sys.argv[3::2]))
seen = pathlib.Path({seen!r})
known = [name for name in os.environ if name.startswith(("AWS_", "PINLAKE"))]
with seen.open("a") as file:
    print(json.dumps([command, arguments, {{name: os.environ[name] for name in known}}]), file=file)
if command == "wait":
    print(pathlib.Path(arguments["--acks"]).read_text(), file=seen.with_suffix(".acks").open("w"))
    sys.exit(int({drained!r} != "yes"))
sql = pathlib.Path(arguments["--queries"], "smoke.sql").read_text()
if "quarantine" in sql:
    rows = [["wrong_type", "no number"]]
else:
    rows = [[mark, count] for mark, count in zip(re.findall("'(smoke-[^']+)'", sql), {counts!r}) if count]
print(json.dumps({{"smoke": {{"columns": [], "rows": rows}}}}))
"""

Reply = tuple[int, dict[str, str], str]


class Ingest:
    """Answers requests as a function says, and keeps them."""

    def __init__(self, reply: Callable[[int, str], Reply]) -> None:
        self.requests: list[tuple[str, str, dict[str, str], str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(handler) -> None:
                body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
                headers = {name.lower(): value for name, value in handler.headers.items()}
                self.requests.append((handler.command, handler.path, headers, body))
                status, added, text = reply(len(self.requests), handler.path)
                handler.send_response(status)
                for name, value in added.items():
                    handler.send_header(name, value)
                handler.send_header("Content-Length", str(len(text)))
                handler.end_headers()
                handler.wfile.write(text.encode())

            do_PUT = do_POST

            def log_message(handler, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Ingest":
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def stored(count: int, path: str) -> Reply:
    """What ingest answers in each wire format. Its two shards take turns."""
    text = '{"accepted":1}' if "/v1/" in path else '{"SequenceNumber":"1","ShardId":"s"}'
    if "/topics/" in path:
        text = '{"offsets":[{"partition":0,"offset":1,"error_code":null,"error":null}]}'
    return 200, {"Pinlake-Ack": f"shardId-{count % 2}={10 + count}"}, text


class Smoke(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.seen = self.folder / "seen"
        self.scratch = self.folder / "scratch"
        self.scratch.mkdir()
        patched = mock.patch.dict(os.environ, {"PINLAKE_LAKE": "s3://another", "PINLAKE_STREAM": "another"})
        patched.start()
        self.addCleanup(patched.stop)
        os.environ.pop("AWS_ENDPOINT_URL", None)
        waits = mock.patch.object(post, "sleep", self.delays.append)
        waits.start()
        self.addCleanup(waits.stop)
        tempfile_ = mock.patch.object(tempfile, "tempdir", str(self.scratch))
        tempfile_.start()
        self.addCleanup(tempfile_.stop)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.delays: list[float] = []

    def install(self, counts: list[int], drained: str = "yes") -> None:
        """Writes the program that PINLAKE names."""
        program = self.folder / "pinlake"
        program.write_text(PINLAKE.format(python=sys.executable, seen=str(self.seen), drained=drained, counts=counts))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        os.environ["PINLAKE"] = str(program)

    def account(self, url: str, **parameters: str) -> Account:
        account = Account(SESSION, REGION)
        outputs = {"IngestUrl": url, "Lake": "s3://lake", "StreamName": "pinlake-records"}
        stack = {
            "StackName": "pinlake",
            "StackStatus": "CREATE_COMPLETE",
            "CreationTime": "2026-01-01T00:00:00Z",
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        }
        stub = Stubber(account.client("cloudformation"))
        stub.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "pinlake"})
        stub.activate()
        return account

    def run_smoke(self, ingest: Ingest, plan: smoke.Plan, **parameters: str) -> tuple[int, str]:
        """Runs the test. Returns the exit code and what it prints."""
        account = self.account(ingest.url, **parameters)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = smoke.run(plan, lambda region, profile: account)
        self.assertEqual(list(self.scratch.iterdir()), [], "files are left")
        return code, printed.getvalue()

    def calls(self) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
        for line in self.seen.read_text().splitlines():
            yield tuple(json.loads(line))

    def test_each_wire_format_is_posted_and_found(self) -> None:
        self.install([1, 1, 1])
        with Ingest(stored) as ingest:
            windows = {"CleanerWindowSeconds": "30", "CompactorWindowSeconds": "20"}
            code, printed = self.run_smoke(ingest, smoke.Plan("pinlake"), **windows)
        self.assertEqual(code, 0, printed)
        self.assertEqual(printed.count(" once\n"), 3, printed)
        self.assertIn("3 of 3 records are in their table once; drained after", printed)
        sent = [(method, path) for method, path, _, _ in ingest.requests]
        canary = records.CANARY
        self.assertEqual(sent[0], ("POST", f"/v1/{canary}"))
        self.assertEqual(sent[1][1].split("/")[1], "topics")
        self.assertEqual((sent[2][0], sent[2][1].split("/")[-1]), ("PUT", "record"))
        native = json.loads(ingest.requests[0][3])
        self.assertEqual(set(native), {"id", "at"})
        marks = [request[2]["idempotency-key"] for request in ingest.requests]
        self.assertEqual((native["id"], len(set(marks))), (marks[0], 3))
        self.assertEqual(json.loads(ingest.requests[1][3])["records"][0]["value"]["id"], marks[1])
        self.assertEqual(json.loads(ingest.requests[2][3])["Data"]["id"], marks[2])
        # AWS_IAM: signed, with the session's token.
        for _, _, headers, _ in ingest.requests:
            self.assertIn(f"/{REGION}/lambda/aws4_request", headers["authorization"])
            self.assertEqual(headers["x-amz-security-token"], "token")
        (_, waited, environment), _ = self.calls()
        self.assertEqual((waited["--lake"], waited["--stream"]), ("s3://lake", "pinlake-records"))
        self.assertTrue(220 <= int(waited["--timeout"]) <= 230, waited)
        acks = json.loads(self.seen.with_suffix(".acks").read_text())
        self.assertEqual(acks, {"shardId-0": "12", "shardId-1": "13"})
        # The program knows no profiles, and settings of another lake would mislead it.
        self.assertEqual({name for name in environment if name.startswith("PINLAKE")}, set())
        self.assertEqual((environment["AWS_ACCESS_KEY_ID"], environment["AWS_REGION"]), ("AKIA", REGION))

    def test_api_keys_and_anonymous_callers_do_not_sign(self) -> None:
        self.install([1, 1, 1])
        with Ingest(stored) as ingest:
            self.assertEqual(self.run_smoke(ingest, smoke.Plan("pinlake", key="plk_x"), IngestApiKeys="a:b")[0], 0)
            self.assertEqual(self.run_smoke(ingest, smoke.Plan("pinlake"), AnonymousIngest="true")[0], 0)
            self.wrong("PINLAKE_API_KEY", smoke.Plan("pinlake"), ingest.url, IngestApiKeys="a:b")
        headers = [request[2] for request in ingest.requests]
        self.assertEqual([found.get("x-api-key") for found in headers], ["plk_x"] * 3 + [None] * 3)
        self.assertEqual([found.get("authorization") for found in headers], [None] * 6)

    def test_missing_and_repeated_rows_fail(self) -> None:
        self.install([0, 1, 2])
        with Ingest(stored) as ingest:
            code, printed = self.run_smoke(ingest, smoke.Plan("pinlake"))
        self.assertEqual(code, 1)
        self.assertIn("MISSING: in quarantine: wrong_type, no number", printed)
        self.assertIn("2 TIMES", printed)
        self.assertIn("1 of 3 records", printed)

    def test_a_pipeline_that_does_not_drain_fails(self) -> None:
        self.install([1, 1, 1], drained="no")
        with Ingest(stored) as ingest:
            code, printed = self.run_smoke(ingest, smoke.Plan("pinlake", seconds=5))
        self.assertEqual((code, "NOT DRAINED" in printed), (1, True), printed)
        self.assertLessEqual(int(next(self.calls())[1]["--timeout"]), 5)

    def test_records_that_are_not_stored_fail(self) -> None:
        def refuse(count: int, path: str) -> Reply:
            if "/v1/" in path:
                return 403, {}, '{"error":"forbidden","message":"the request is not signed"}'
            if "/topics/" in path:
                text = '{"offsets":[{"partition":null,"offset":null,"error_code":2,"error":"throttled"}]}'
                return 200, {"Pinlake-Ack": "shardId-0=1"}, text
            return 200, {}, '{"SequenceNumber":"1","ShardId":"s"}'

        self.install([])
        with Ingest(refuse) as ingest:
            code, printed = self.run_smoke(ingest, smoke.Plan("pinlake"))
        self.assertEqual((code, len(ingest.requests)), (1, 3))
        for text in ("403", "is not signed", "docs/api.md", "NOT STORED: throttled", "no Pinlake-Ack", "0 of 3"):
            self.assertIn(text, printed)
        self.assertFalse(self.seen.exists(), "there is nothing to wait for")

    def test_throttling_and_crashes_are_retried(self) -> None:
        def busy(count: int, path: str) -> Reply:
            return [(429, {"Retry-After": "3"}, "{}"), (502, {}, "{}"), stored(count, path)][(count - 1) % 3]

        self.install([1, 1, 1])
        with Ingest(busy) as ingest:
            code, printed = self.run_smoke(ingest, smoke.Plan("pinlake"))
        self.assertEqual((code, len(ingest.requests)), (0, 9), printed)
        self.assertEqual(self.delays, [3.0, 2.0] * 3)
        self.assertEqual(len({request[2]["idempotency-key"] for request in ingest.requests}), 3)

    def test_no_answer_is_not_retried_for_ever(self) -> None:
        self.install([])
        with Ingest(stored) as ingest:
            url = ingest.url
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            code = smoke.run(smoke.Plan("pinlake"), lambda region, profile: self.account(url))
        self.assertEqual((code, printed.getvalue().count("no answer")), (1, 3))

    def test_another_dataset_takes_a_record_file(self) -> None:
        self.install([1, 1, 1])
        file = self.folder / "pin.json"
        file.write_text('{"index": 1, "unique_id": "{mark}", "title": "at {now}, {mark}"}')
        with Ingest(stored) as ingest:
            code, _ = self.run_smoke(ingest, smoke.Plan("pinlake", dataset="pin", record=file))
        self.assertEqual(code, 0)
        paths = [path for _, path, _, _ in ingest.requests]
        self.assertEqual(paths, ["/v1/pin", "/topics/pin", "/streams/pin/record"])
        self.assertRegex(json.loads(ingest.requests[0][3])["title"], r"^at 20\d\d-.*Z, smoke-.*-native$")

    def wrong(self, text: str, plan: smoke.Plan, url: str = "http://127.0.0.1:9", **parameters: str) -> None:
        """Checks that a plan is refused as wrong usage before anything is sent."""
        with self.assertRaises(Failure) as raised, contextlib.redirect_stderr(io.StringIO()):
            smoke.run(plan, lambda region, profile: self.account(url, **parameters))
        self.assertEqual(raised.exception.exit_code, 2, raised.exception)
        self.assertIn(text, str(raised.exception))

    def test_wrong_usage(self) -> None:
        self.install([])
        file = self.folder / "record.json"
        self.wrong("RECORD=FILE", smoke.Plan("pinlake", dataset="pin"))
        self.wrong("cannot be read", smoke.Plan("pinlake", dataset="pin", record=file))
        file.write_text('{"index": 1}')
        self.wrong("COLUMN=NAME", smoke.Plan("pinlake", dataset="pin", record=file))
        file.write_text('{"a": "{mark}"}')
        self.wrong("CONTRACTS=DIR", smoke.Plan("pinlake", dataset="unknown", record=file))
        self.wrong("not the name of a dataset", smoke.Plan("pinlake", dataset="pin; DROP", record=file))
        self.wrong("not the name of a column", smoke.Plan("pinlake", dataset="pin", record=file, column='a" OR 1'))
        self.wrong("at least one second", smoke.Plan("pinlake", seconds=0))
        for url in ("host", "ftp://host", "https://user:secret@host", "https://host/?a=b"):
            self.wrong("URL must be like", smoke.Plan("pinlake", url=url))
        os.environ["PINLAKE"] = str(self.folder / "missing")
        self.wrong("make build", smoke.Plan("pinlake"))

    def test_names_come_from_the_contract(self) -> None:
        (self.folder / "_routes.toml").write_text('shared_streams = ["all"]')
        contract = 'name = "visit"\n[route]\ntopics = ["*.visit"]\npartition_keys = ["v"]\n'
        (self.folder / "visit.toml").write_text(contract)
        self.assertEqual(records.find_route("visit", self.folder), records.Route("smoke.visit", "all", "v"))
        (self.folder / "visit.toml").write_text('name = "visit"')
        route = records.find_route("visit", self.folder)
        self.assertEqual(route, records.Route(None, None, "smoke"))
        sent = list(records.build_requests("visit", route, {"a": "{mark}"}, "m", "now"))
        self.assertEqual([request.wire for request in sent], ["native"])
        for file in sorted((ROOT / "datasets").glob("[a-z]*.toml")):
            records.find_route(file.stem, ROOT / "datasets")

    def test_acknowledgements(self) -> None:
        self.assertEqual(post.parse_acks("s-1=12, s-2=7,s-1=9"), {"s-1": 12, "s-2": 7})
        for invalid in ("", "s-1", "s-1=x", "=1"):
            self.assertEqual(post.parse_acks(invalid), {})

    def test_the_stand_in_takes_the_id_of_the_url_in_the_path(self) -> None:
        found = function_url("http://127.0.0.1:4566", "https://abc.lambda-url.us-east-1.on.aws/")
        self.assertEqual(found, "http://127.0.0.1:4566/_aws/lambda-url/abc")


if __name__ == "__main__":
    unittest.main()
