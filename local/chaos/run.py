"""A run, from a new stack to the result."""

import contextlib
import json
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local import console, stack, stand_in
from local.chaos import comparison, processes
from local.chaos.clients import Client, merged_acks
from local.chaos.event_source import EventSource
from local.chaos.faults import Faults
from local.chaos.notifications import Notifications
from local.chaos.proxy import Proxy
from local.console import Failure, say
from local.places import STATE, environment, port, program

_CLIENTS = 3
_WORK = STATE / "chaos"
_FAULT_LOG = STATE / "faults.ndjson"
_LAKE = STATE / "lake"

# Mean seconds between kills of a random function process, and between deployments of a function.
_KILL_EVERY = 2.5
_DEPLOY_EVERY = 25
# Mean seconds between restarts of the stand-in, each of which takes about ten seconds.
_RESTART_EVERY = 50
_TELL_EVERY = 5
_DRAIN_SECONDS = 300
_QUIET_SECONDS = 60


class Chaos:
    """One run over a stack of its own."""

    def __init__(self, seed: int, seconds: int, harm: bool) -> None:
        self._seconds = seconds
        self._harm = harm
        stand_in.stop()
        self._described = stack.up(keeping=True)
        self._settings = environment(self._described["endpoint"])
        shutil.rmtree(_WORK, ignore_errors=True)
        _WORK.mkdir(parents=True)
        self._faults = Faults(seed, _FAULT_LOG)
        self._chance = self._faults.chance("run")
        self._proxy = Proxy(self._faults, port())
        self._source = EventSource(self._described, self._faults)
        self._notifications = Notifications(self._described, self._faults)
        url = self._described["ingest_url"]
        self._clients = [Client(at, url, _WORK, self._settings, self._faults) for at in range(_CLIENTS)]
        self._s3 = stack.client("s3", self._described["endpoint"])
        self._lambda = stack.client("lambda", self._described["endpoint"])

    def run(self) -> dict[str, Any]:
        """Posts during the faults, waits until the pipeline has drained, and checks the tables. Returns the summary."""
        self._route_through(self._proxy.start())
        self._proxy.stand_in = self._pid()
        self._source.start()
        self._notifications.start()
        for client in self._clients:
            client.start()
        self._faults.begin()
        begun = time.monotonic()
        self._fail_for(self._seconds)
        for client in self._clients:
            client.stop()
        self._faults.end()
        say("the faults have stopped; waiting for the clients and until the pipeline has drained")
        violations = self._drain()
        say("reading the tables")
        self._copy_lake()
        wanted = comparison.expected(sent for client in self._clients for sent in client.sent)
        found, rows = comparison.compare(_LAKE, wanted)
        violations += found
        if not violations:
            missed = comparison.find_missed(_LAKE, STATE / "damaged", wanted)
            violations += [f"the check does not detect that {what}" for what in missed]
        self._notifications.stop()
        self._source.stop()
        return self._summarize(violations, rows, wanted, time.monotonic() - begun)

    def _pid(self) -> int:
        running = stand_in.running()
        if running is None:
            raise Failure("the stand-in has exited")
        return running.pid

    def _route_through(self, proxy: str) -> None:
        """Makes the functions send their requests to S3, Kinesis and SQS to the proxy."""
        for name in self._described["functions"].values():
            variables = {f"AWS_ENDPOINT_URL_{service}": proxy for service in ("S3", "KINESIS", "SQS")}
            self._configure(name, variables)

    def _configure(self, name: str, variables: dict[str, str]) -> None:
        settings = self._lambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        self._lambda.update_function_configuration(FunctionName=name, Environment={"Variables": settings | variables})

    def _fail_for(self, seconds: float) -> None:
        begun = time.monotonic()
        restarts = max(1, int(seconds / _RESTART_EVERY))
        share = seconds / (restarts + 1)
        restart = [begun + share * (at + self._chance.uniform(-0.3, 0.3)) for at in range(1, restarts + 1)]
        kill = self._next(begun, _KILL_EVERY)
        deploy = self._next(begun, _DEPLOY_EVERY)
        tell = begun + _TELL_EVERY
        harm = begun if self._harm else float("inf")
        while (now := time.monotonic()) < begun + seconds:
            for client in self._clients:
                if client.failure is not None:
                    raise Failure(f"a client failed: {client.failure}")
            if now >= kill:
                self._kill()
                kill = self._next(now, _KILL_EVERY)
            if now >= deploy:
                self._deploy()
                deploy = self._next(now, _DEPLOY_EVERY)
            if restart and now >= restart[0]:
                restart.pop(0)
                self._restart()
            if now >= harm and self._remove_landing():
                harm = float("inf")
            if now >= tell:
                self._tell(now - begun)
                tell = now + _TELL_EVERY
            time.sleep(0.05)

    def _next(self, now: float, every: float) -> float:
        return now + self._chance.expovariate(1 / every)

    def _kill(self) -> None:
        running = sorted(processes.functions(self._pid()).items())
        if running:
            pid, function = self._chance.choice(running)
            if processes.kill(pid):
                self._faults.strike(function, "killed", "at any moment", f"process {pid}")

    def _deploy(self) -> None:
        """Changes the environment of a function, which replaces its processes."""
        name = self._chance.choice(["ingest", "cleaner", "compactor"])
        with contextlib.suppress(BotoCoreError, ClientError):
            self._configure(self._described["functions"][name], {"CHAOS": str(time.monotonic_ns())})
            self._faults.strike(name, "deployed again", "at any moment")

    def _restart(self) -> None:
        stand_in.restart()
        self._proxy.stand_in = self._pid()
        self._faults.strike("stand-in", "restarted", "all services and functions")

    def _remove_landing(self) -> bool:
        """Removes a landing object before it is in a table, which no fault of AWS does."""
        with contextlib.suppress(BotoCoreError, ClientError):
            for prefix in comparison.DATASETS:
                found = self._s3.list_objects_v2(Bucket=self._described["bucket"], Prefix=f"landing/{prefix}/")
                for entry in found.get("Contents", []):
                    self._s3.delete_object(Bucket=self._described["bucket"], Key=entry["Key"])
                    say(f"--harm: removed {entry['Key']}")
                    return True
        return False

    def _tell(self, after: float) -> None:
        faults = self._faults
        say(
            f"{after:.0f} s of {self._seconds}: {sum(client.rows() for client in self._clients):,} rows acknowledged, "
            f"{self._proxy.requests:,} requests of functions, {sum(faults.struck.values())} faults, of these "
            f"{faults.count('killed', 'killed before', 'killed after')} kills"
        )

    def _drain(self) -> list[str]:
        for client in self._clients:
            client.join()
        acks = _WORK / "acks.json"
        merged_acks(self._clients, acks)
        deadline = time.monotonic() + _QUIET_SECONDS
        while self._proxy.late and time.monotonic() < deadline:
            time.sleep(0.1)
        if not self._source.has_read_all(_QUIET_SECONDS):
            return [f"the cleaner makes no progress after the faults have stopped: see {STATE}/ministack.log"]
        self._notifications.sweep()
        where = ["--lake", self._described["lake"], "--stream", self._described["stream"]]
        wait = [program(), "wait", *where, "--acks", acks, "--timeout", str(_DRAIN_SECONDS)]
        try:
            console.run(wait, self._settings, what="pinlake wait")
        except Failure as failure:
            return [f"not drained after the faults have stopped: {failure}"]
        return self._leftovers()

    def _leftovers(self) -> list[str]:
        """Checks that a sweep leaves nothing in landing, that no object failed and that no row was rejected."""
        deadline = time.monotonic() + _QUIET_SECONDS
        while left := self._keys("landing/"):
            if time.monotonic() > deadline:
                return [f"{len(left)} objects are left in landing after a sweep, such as {left[0]}"]
            time.sleep(0.5)
        failed = self._keys("failed/")
        refused = [path for client in self._clients for path in client.refused()]
        return [f"an object could not be read: {key}" for key in failed] + [
            f"ingest rejected well-formed rows: {path}" for path in refused
        ]

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._described["bucket"], Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def _copy_lake(self) -> None:
        shutil.rmtree(_LAKE, ignore_errors=True)
        for key in self._keys("tables/"):
            path = _LAKE / key
            path.parent.mkdir(parents=True, exist_ok=True)
            self._s3.download_file(self._described["bucket"], key, str(path))

    def _summarize(
        self, violations: list[str], rows: dict[str, int], wanted: comparison.Expected, seconds: float
    ) -> dict[str, Any]:
        struck: Counter[str] = Counter()
        for (part, fault, _), times in self._faults.struck.items():
            struck[f"{part}: {fault}"] += times
        return {
            "seed": self._faults.seed,
            "seconds_of_faults": self._seconds,
            "seconds": round(seconds, 1),
            "client_requests": sum(client.requests for client in self._clients),
            "client_repeats": sum(client.repeated for client in self._clients),
            "rows_acknowledged": sum(client.rows() for client in self._clients),
            "distinct_rows_acknowledged": sum(map(len, wanted.required.values())),
            "rows": rows,
            "commits": len(list(_LAKE.glob("tables/*/_delta_log/*.json"))),
            "batches": self._source.batches,
            "batches_failed": self._source.failed,
            "notifications": self._notifications.passed,
            "function_requests": self._proxy.requests,
            "faults": sum(struck.values()),
            "struck": dict(sorted(struck.items())),
            "violations": violations,
        }

    def struck(self) -> str:
        """A table of the injected faults: part, fault, count, places."""
        lines: dict[tuple[str, str], Counter[str]] = {}
        for (part, fault, place), times in self._faults.struck.items():
            lines.setdefault((part, fault), Counter())[place] += times
        shown = []
        for (part, fault), places in sorted(lines.items()):
            where = ", ".join(f"{place} {times}" for place, times in places.most_common())
            shown.append(f"  {part:14} {fault:36} {sum(places.values()):6}  {where}")
        return "\n".join(shown)


def run(seed: int, seconds: int, harm: bool) -> int:
    """Runs it and prints the result. Returns 1 if there are violations."""
    if not Path("/proc/self/environ").exists():
        raise Failure("make chaos finds the functions' processes in /proc, which this system does not have", 2)
    say(f"chaos with seed {seed}, {seconds} s of faults")
    try:
        chaos = Chaos(seed, seconds, harm)
        summary = chaos.run()
        say("injected faults, with counts and places:\n" + chaos.struck())
    finally:
        stand_in.stop()
    print(json.dumps(summary), flush=True)
    for violation in summary["violations"]:
        say(f"VIOLATION: {violation}")
    if summary["violations"]:
        say(f"see {_LAKE} (the tables), {_FAULT_LOG} (the faults), {STATE}/ministack.log, {_WORK} (the rows)")
        return 1
    say(
        f"{summary['distinct_rows_acknowledged']:,} distinct rows in {summary['rows_acknowledged']:,} lines were "
        "acknowledged; each is in its table or in quarantine once, and there are no others; "
        f"{summary['faults']} faults were injected"
    )
    return 0
