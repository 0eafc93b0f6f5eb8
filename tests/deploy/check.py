"""Executes the commands of docs/deploy.md and of the other pages that change a stack, on a stand-in of its own.

The commands run in a copy of this checkout, with a git history of its own, whose builds are those of this checkout.
"""

import json
import os
import shutil
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from deployed import Users
from pages import Block, changing_blocks, find
from shell import Shell

from local import stack, stand_in
from local.places import ROOT, STATE, architecture, environment, forget_settings, program, rust_target

# The region of the documented commands.
REGION = "eu-west-1"
COPY = STATE / "copy"
# For a fast test: as `make up`.
PARAMETERS = [
    f"Architecture={architecture()}",
    "AnonymousIngest=true",
    "CleanerWindowSeconds=1",
    "CompactorWindowSeconds=1",
    "Canary=false",
]
RELEASED = "v0.2.0"
SINK = "kafka-sink"


class Deployment:
    """A stand-in, and a user with a checkout and the documentation."""

    def __init__(self) -> None:
        self.stand_in = stand_in.start()
        copy_checkout()
        self.shell = Shell(COPY, user_environment(self.stand_in.endpoint), STATE / "commands.log")
        self.executed: set[Block] = set()

    def run(self, block: Block, terminal: bool = False) -> str:
        """Executes a documented block."""
        output = self.shell.run(block, terminal)
        self.executed.add(block)
        return output

    def all_of(self, page: str, heading: str) -> None:
        """Executes all blocks below a heading."""
        for block in find(page, heading):
            self.run(block)

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return stack.client(service, self.stand_in.endpoint, REGION)

    def described(self, name: str) -> "Stack":
        """The stack with this name."""
        file = STATE / f"{name}.json"
        file.write_text(json.dumps(stack.describe(self.stand_in, name, REGION)))
        return Stack(file, program())

    def resources(self, name: str) -> dict[str, tuple[str, str]]:
        """Type and physical name of each resource of a stack, by its logical name."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
        found = [resource for page in pages for resource in page["StackResourceSummaries"]]
        return {each["LogicalResourceId"]: (each["ResourceType"], each["PhysicalResourceId"]) for each in found}

    def names(self) -> dict[str, set[str]]:
        """The names of everything in the account that a stack creates."""
        groups = self.client("logs").describe_log_groups()["logGroups"]
        queues = self.client("sqs").list_queues().get("QueueUrls", [])
        return {
            "streams": set(self.client("kinesis").list_streams()["StreamNames"]),
            "queues": {url.rsplit("/", 1)[1] for url in queues},
            "log groups": {group["logGroupName"] for group in groups},
            "functions": {each["FunctionName"] for each in self.client("lambda").list_functions()["Functions"]},
            "roles": {each["RoleName"] for each in self.client("iam").list_roles()["Roles"]},
            "buckets": {each["Name"] for each in self.client("s3").list_buckets()["Buckets"]},
            "tables": set(self.client("dynamodb").list_tables()["TableNames"]),
            "alarms": {each["AlarmName"] for each in self.client("cloudwatch").describe_alarms()["MetricAlarms"]},
            "rules": {each["Name"] for each in self.client("events").list_rules()["Rules"]},
            "topics": {each["TopicArn"].rsplit(":", 1)[1] for each in self.client("sns").list_topics()["Topics"]},
        }


class Stack(Users):
    """A deployed stack, to which users are posted."""

    def post(self, first: int, count: int) -> int:
        """Posts users with these numbers and returns the status."""
        rows = [
            {"ind": ind, "first_name": "Noor", "last_name": "Okafor", "age": 34, "date_joined": "2016-08-09 10:11:12"}
            for ind in range(first, first + count)
        ]
        request = urllib.request.Request(
            f"{self.described['ingest_url']}/v1/user",
            json.dumps(rows).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def numbers(self) -> list[int]:
        """The numbers of all users in the table, sorted."""
        rows = self.ask({"users": "SELECT ind FROM user ORDER BY ind"})["users"]["rows"]
        return [cells[0] for cells in rows]

    def kept(self) -> tuple[str, ...]:
        """What an update must not replace."""
        return tuple(self.described[name] for name in ("stream", "bucket", "results_table", "queue", "dead_letters"))


def copy_checkout() -> None:
    """Copies this checkout with the times of its files, so that cargo builds nothing, and tags it as a release."""
    skipped = shutil.ignore_patterns("__pycache__", ".git", ".venv*")

    def ignore(folder: str, names: list[str]) -> set[str]:
        return skipped(folder, names) | ({"target"} if Path(folder) == ROOT else set())

    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(ROOT, COPY, symlinks=True, ignore=ignore)
    (COPY / "target").mkdir()
    for built in ("debug", rust_target()):
        (COPY / "target" / built).symlink_to(ROOT / "target" / built)
    (COPY / "target" / "pinlake").symlink_to(program())
    (COPY / ".venv").symlink_to(ROOT / ".venv")
    settings = [
        f"[{name}.global.parameters]\nparameter_overrides = {json.dumps(PARAMETERS)}\n"
        for name in ("default", "dev", "prod")
    ]
    with (COPY / "samconfig.toml").open("a") as config:
        config.write("\n" + "\n".join(settings))
    git("init", "--quiet", "--initial-branch=main")
    # A pattern with a slash at its end matches no symbolic link.
    (COPY / ".git" / "info" / "exclude").write_text("/target\n/.venv\n")
    commit("The release")
    git("tag", RELEASED)


def git(*arguments: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=COPY, env=os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}, check=True)


def commit(subject: str) -> None:
    """Commits all changes of the copy."""
    git("add", "--all")
    git("commit", "--quiet", "--message", subject)


def user_environment(endpoint: str) -> dict[str, str]:
    """The environment of someone who builds in the quick profile and whose AWS account is the stand-in."""
    tools = [STATE / "aws" / "bin", program().parent]
    ours = stack.quick(environment(endpoint))
    return ours | {
        "PATH": os.pathsep.join([*map(str, tools), ours["PATH"]]),
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "GIT_CONFIG_GLOBAL": os.devnull,
    }


def set_parameters(added: list[str]) -> None:
    """Changes samconfig.toml as a user would."""
    file = COPY / "samconfig.toml"
    section = "[default.global.parameters]\nparameter_overrides = "
    text = file.read_text()
    assert section in text
    file.write_text(text.replace(f"{section}{json.dumps(PARAMETERS)}", f"{section}{json.dumps(PARAMETERS + added)}"))


def check_two_stacks(user: Deployment) -> None:
    """Two stacks of one account share nothing, and rows of one are not in the other."""
    [both] = find("docs/deploy.md", "Two stacks")
    [first] = find("README.md", "Deploy to AWS")
    assert first.text.strip() in both.text, f"{first} is not the first command of {both}"
    # They ask, and are answered.
    user.run(both, terminal=True)
    user.executed.add(first)
    pinlake, dev = user.described("pinlake"), user.described("pinlake-dev")
    # Types whose physical name is unique within its function or queue only.
    resources = [
        {each for each in user.resources(name).values() if each[0] != "AWS::Lambda::Permission"}
        for name in ("pinlake", "pinlake-dev")
    ]
    assert len(resources[0]) > 40 and not resources[0] & resources[1], resources[0] & resources[1]
    assert not set(pinlake.kept()) & set(dev.kept())
    assert (pinlake.post(1, 3), dev.post(101, 2)) == (200, 200)
    wait_for(pinlake, [1, 2, 3])
    wait_for(dev, [101, 102])


def check_smoke_tests(user: Deployment) -> None:
    """A deployed stack takes a record in each wire format, and has each once."""
    for block in find("docs/deploy.md", "After a deployment"):
        output = user.run(block)
        assert "3 of 3 records are in their table once" in output, output


def check_change_set(user: Deployment) -> None:
    """A change set alone creates nothing."""
    before = user.names()
    [proposed] = find("docs/deploy.md", "Environments")
    user.run(proposed)
    changes = user.client("cloudformation").list_change_sets(StackName="pinlake-prod")["Summaries"]
    assert [each["ExecutionStatus"] for each in changes] == ["AVAILABLE"], changes
    assert user.names() == before
    user.client("cloudformation").delete_stack(StackName="pinlake-prod")


def check_update(user: Deployment) -> None:
    """An update keeps what the stack holds: docs/readers.md adds Athena, docs/sources.md a sink."""
    before = user.described("pinlake")
    s3 = user.client("s3")
    s3.create_bucket(Bucket=SINK, CreateBucketConfiguration={"LocationConstraint": REGION})
    [athena] = find("docs/readers.md", "The analyses on Athena", "toml")
    athena = tomllib.loads(athena.text)["default"]["global"]["parameters"]["parameter_overrides"]
    set_parameters([*athena, f"SinkBucket={SINK}"])
    [update] = find("docs/deploy.md", "Update")
    user.run(update)
    after = user.described("pinlake")
    assert after.kept() == before.kept(), (before.kept(), after.kept())
    databases = user.client("glue").get_databases()["DatabaseList"]
    assert [each["Name"] for each in databases] == ["pinlake"], databases
    settings = user.client("lambda").get_function_configuration(FunctionName=after.described["functions"]["analysis"])
    assert "PINLAKE_ATHENA_WORKGROUP" in settings["Environment"]["Variables"]
    assert after.post(4, 2) == 200
    wait_for(after, [1, 2, 3, 4, 5])

    user.all_of("docs/deploy.md", "Names in the commands")
    [notify] = [each for each in find("docs/sources.md", "Kafka Connect's S3 sink") if "SINK" in each.text]
    user.shell.run(f"SINK={SINK}")
    user.run(notify)
    row = {"ind": 6, "first_name": "Noor", "last_name": "Okafor", "age": 34, "date_joined": "2016-08-09 10:11:12"}
    key = "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json"
    s3.put_object(Bucket=SINK, Key=key, Body=json.dumps(row).encode())
    wait_for(after, [1, 2, 3, 4, 5, 6])


def check_rollback(user: Deployment) -> None:
    """Records that arrive while a bad release is deployed land after the rollback."""
    template = COPY / "template.yaml"
    good = template.read_text()
    # As a release whose functions crash on every batch. The stand-in would discard a batch that is reported as failed.
    bad = good.replace("PINLAKE_LAKE: !Sub s3://${Lake}", "PINLAKE_LAKE: 's3://'")
    assert bad != good
    template.write_text(bad)
    commit("A bad release")
    user.shell.run("make deploy REGION=eu-west-1 CONFIRM=no")
    pinlake = user.described("pinlake")
    assert pinlake.post(7, 2) == 200
    stuck = user.shell.run('! pinlake wait --lake "s3://$BUCKET" --stream "$STREAM" --timeout 3')
    assert "shards behind" in stuck, stuck
    for block in find("docs/recovery.md", "A bad deploy"):
        user.run(block)
    assert template.read_text() == good
    wait_for(pinlake, [1, 2, 3, 4, 5, 6, 7, 8])
    assert SINK in (COPY / "samconfig.toml").read_text()


def check_delete(user: Deployment) -> None:
    """A deleted stack leaves its bucket and its results table, and the other stack as it was."""
    stack_before, names = user.described("pinlake"), user.names()
    assert stack_before.post(9, 2) == 200
    delete, _ = find("docs/deploy.md", "Delete")
    # Nothing else posts here, so there are no requests to wait for.
    user.shell.run("sleep() { :; }")
    user.shell.run(delete.text.splitlines()[0])
    assert stack_before.post(11, 1) == 429
    user.run(delete)
    wait_for(stack_before, list(range(1, 11)))
    kept = {stack_before.described["bucket"], stack_before.described["results_table"]}
    left = user.names()
    for kind, found in left.items():
        own = {name for name in found if "pinlake-" in name and "pinlake-dev" not in name}
        assert own <= kept, f"{kind} are left: {own - kept}"
        others = {name for name in names[kind] if "pinlake-dev" in name}
        assert others <= found, f"{kind} of the other stack are gone: {others - found}"
    assert kept <= left["buckets"] | left["tables"]
    dev = user.described("pinlake-dev")
    assert dev.post(103, 1) == 200
    wait_for(dev, [101, 102, 103])


def check_deploy_again(user: Deployment) -> None:
    """A stack with the same name takes the kept bucket over."""
    before = Stack(STATE / "pinlake.json", program())
    user.all_of("docs/deploy.md", "Deploy again over a kept bucket")
    again = user.described("pinlake")
    assert again.kept() == before.kept(), (before.kept(), again.kept())
    assert again.numbers() == list(range(1, 11))
    # A row that is there, and a new one.
    assert again.post(10, 2) == 200
    wait_for(again, list(range(1, 12)))
    owned = user.resources("pinlake")
    assert owned["Lake"][1] == before.described["bucket"], owned["Lake"]


def check_delete_all(user: Deployment) -> None:
    """A stack is deleted with its data."""
    dev = user.described("pinlake-dev")
    [names] = find("docs/deploy.md", "Names in the commands")
    text = names.text.replace("STACK=pinlake\n", "STACK=pinlake-dev\n")
    assert text != names.text
    user.shell.run(text)
    for block in find("docs/deploy.md", "Delete"):
        user.run(block)
    left = user.names()
    assert dev.described["bucket"] not in left["buckets"] and dev.described["results_table"] not in left["tables"]


def wait_for(deployed: Stack, numbers: list[int]) -> None:
    """Waits until the table has exactly these numbers."""
    until = time.monotonic() + 60
    while (found := deployed.numbers()) != numbers:
        if time.monotonic() > until or len(found) > len(numbers):
            raise AssertionError(f"the table has {found}, not {numbers}")
        time.sleep(0.5)


def main() -> None:
    """Executes all procedures, one after the other: each begins with the stacks that the one before left."""
    forget_settings()
    os.environ.pop("PYTHONPATH", None)
    user = Deployment()
    try:
        for procedure in (
            check_two_stacks,
            check_smoke_tests,
            check_change_set,
            check_update,
            check_rollback,
            check_delete,
            check_deploy_again,
            check_delete_all,
        ):
            procedure(user)
        untested = changing_blocks() - user.executed
        assert not untested, "documented, but not executed here: " + "; ".join(map(str, untested))
    finally:
        user.shell.close()
        stand_in.stop()
    print(f"deploy: {len(user.executed)} documented blocks did what their pages say")


if __name__ == "__main__":
    main()
