"""Checks `make doctor`: what each check finds, in a stubbed AWS account, and that none of them changes anything.

`make check` runs it.
"""

import contextlib
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import unittest
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from deploy import doctor
from deploy.account import Account
from deploy.checks import access, names, permissions, quotas, shards, state, toolchain
from deploy.checks import settings as parameters
from deploy.finding import Finding, Level
from deploy.settings import Settings, read_settings
from deploy.stack import Existing, Stack, Target
from deploy.template import Resource, Template, read_template
from local.console import Failure
from local.places import ROOT

REGION = "eu-west-1"
ACCOUNT_ID = "123456789012"
USER = f"arn:aws:iam::{ACCOUNT_ID}:user/deployer"
DOCUMENT = read_template()
SESSION = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)

#: What each service answers for a name that nobody holds.
NOBODY = {
    ("lambda", "get_function_configuration"): "ResourceNotFoundException",
    ("kinesis", "describe_stream_summary"): "ResourceNotFoundException",
    ("sqs", "get_queue_url"): "AWS.SimpleQueueService.NonExistentQueue",
    ("glue", "get_database"): "EntityNotFoundException",
    ("cloudwatch", "get_dashboard"): "ResourceNotFound",
}


class Stubbed(Account):
    """An account that answers what a test says, and fails for everything else. Collects the operations called."""

    def __init__(self) -> None:
        super().__init__(SESSION, REGION)
        self.stubs: dict[str, Stubber] = {}
        self.called: list[str] = []

    def client(self, service: str) -> Any:
        client = super().client(service)
        if service not in self.stubs:
            self.stubs[service] = Stubber(client)
            self.stubs[service].activate()
            client.meta.events.register("before-parameter-build", lambda model, **_: self.called.append(model.name))
        return client

    def answers(self, service: str, operation: str, answer: dict[str, Any]) -> None:
        """The next call of the service gets an answer."""
        self.client(service)
        self.stubs[service].add_response(operation, answer)

    def refuses(self, service: str, operation: str, code: str, message: str = "no") -> None:
        """The next call of the service gets an error."""
        self.client(service)
        self.stubs[service].add_client_error(operation, code, message)


def template(name: str = "pinlake", **values: str) -> Template:
    return Template(DOCUMENT, values, name)


def described(status: str, name: str = "pinlake", **values: str) -> dict[str, Any]:
    """What CloudFormation says of a stack."""
    kept = [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]
    stack = {"StackName": name, "StackStatus": status, "CreationTime": "2026-01-01T00:00:00Z", "Parameters": kept}
    return {"Stacks": [stack]}


def settings(**overrides: str) -> Settings:
    return Settings(ROOT / "samconfig.toml", "default", "pinlake", None, None, None, overrides, overrides)


def target(
    account: Account, stack: Stack | None = None, caller: str = USER, role: str | None = None, **values: str
) -> Target:
    chosen = template(**values)
    return Target(
        account, chosen, "pinlake", stack, list(chosen.resources()), ACCOUNT_ID, "aws", caller, role
    )  # fmt: skip


def existing(type_: str = "AWS::SQS::Queue", **resources: str) -> Stack:
    """A stack with resources of one type."""
    return Stack("pinlake", "UPDATE_COMPLETE", {}, {}, {name: Existing(type_, id_) for name, id_ in resources.items()})


class Findings(unittest.TestCase):
    def finds(self, found: Iterable[Finding], level: Level, *texts: str) -> None:
        """Checks that there is one finding, its level, and what it and its advice say."""
        listed = list(found)
        self.assertEqual([finding.level for finding in listed], [level], listed)
        for text in texts:
            self.assertIn(text, f"{listed[0].text} -> {listed[0].advice}")


class TemplateTest(Findings):
    def named(self, **values: str) -> dict[str, str]:
        return {found[0].logical_id: found[2] for found in names.find_names(list(template(**values).resources()))}

    def test_names_follow_the_stack_and_its_parameters(self) -> None:
        plain = self.named()
        self.assertEqual(plain["Stream"], "pinlake-records")
        self.assertEqual(plain["Ingest"], "pinlake-ingest")
        self.assertEqual(plain["IngestLogs"], "/aws/lambda/pinlake-ingest")
        self.assertEqual(plain["TriggerDeadLetters"], "pinlake-triggers-dead")
        self.assertFalse({"Catalog", "AnalysisWorkGroup", "Budget", "Lake"} & set(plain))
        full = self.named(GlueDatabase="lake", AnalysisEngine="athena", MonthlyBudgetUsd="5")
        self.assertEqual(full["Catalog"], "lake")
        self.assertEqual(full["AnalysisWorkGroup"], "pinlake-analysis")
        self.assertEqual(full["Budget"], "pinlake-monthly")

    def test_conditions_compare_texts_as_cloudformation_does(self) -> None:
        def reserved(value: str) -> Any:
            found = template(IngestConcurrency=value).resources()
            return next(r.find("ReservedConcurrentExecutions") for r in found if r.logical_id == "Ingest")

        self.assertEqual((reserved("0"), reserved("7")), (None, "7"))

    def test_topics_of_a_list_are_resources_of_their_own(self) -> None:
        arn = "arn:aws:kafka:eu-west-1:123456789012:cluster/c/0a1b"
        found = template(KafkaClusterArn=arn, KafkaTopics="one,two").resources()
        topics = [found.logical_id for found in found if found.logical_id.startswith("CleanerTopic")]
        self.assertEqual(topics, ["CleanerTopic1", "CleanerTopic2"])

    def test_assertions_of_rules_are_evaluated(self) -> None:
        self.assertEqual(list(template().broken_rules()), [])
        self.assertEqual(len(list(template(AnalysisEngine="athena").broken_rules())), 1)
        self.assertEqual(list(template(AnalysisEngine="athena", GlueDatabase="lake").broken_rules()), [])


class SettingsTest(Findings):
    def read(self, text: str, environment: str = "default") -> Settings:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "samconfig.toml")
            file.write_text("version = 0.1\n" + text)
            return read_settings(file, environment)

    def test_sections_of_the_project_are_read(self) -> None:
        for environment, stack in (("default", "pinlake"), ("prod", "pinlake-prod")):
            self.assertEqual(read_settings(ROOT / "samconfig.toml", environment).stack, stack)

    def test_global_parameters_reach_both_commands(self) -> None:
        text = '[default.global.parameters]\nparameter_overrides = ["ShardCount=4", "LogLevel=\\"info,a=b\\""]\n'
        found = self.read(text + '[default.deploy.parameters]\nstack_name = "x"\nregion = "eu-north-1"\n')
        self.assertEqual((found.stack, found.region), ("x", "eu-north-1"))
        self.assertEqual(found.overrides, {"ShardCount": "4", "LogLevel": "info,a=b"})
        self.assertEqual(found.build_overrides, found.overrides)

    def test_what_cannot_be_read_is_wrong_usage(self) -> None:
        invalid = "[default.deploy.parameters]\nparameter_overrides = 'x'\n"
        for text, environment in (("", "prod"), ("[", "default"), (invalid, "default")):
            with self.assertRaises(Failure) as raised:
                self.read(text, environment)
            self.assertEqual(raised.exception.exit_code, 2)
        with self.assertRaises(Failure):
            read_settings(ROOT / "missing.toml", "default")

    def test_parameters_that_the_template_refuses_are_found(self) -> None:
        def check(**overrides: str) -> Iterable[Finding]:
            return parameters.check(settings(**overrides), template(**overrides), None)

        self.finds(check(), Level.OK)
        self.finds(check(ShardCount="4"), Level.OK, "ShardCount")
        self.finds(check(Shards="4"), Level.PROBLEM, "no parameter Shards", "ignores")
        self.finds(check(ShardCount="0"), Level.PROBLEM, "at least 1")
        self.finds(check(ShardCount="many"), Level.PROBLEM, "must be a number")
        self.finds(check(StreamMode="provisioned"), Level.PROBLEM, "one of PROVISIONED, ON_DEMAND")
        self.finds(check(GlueDatabase="My-Lake"), Level.PROBLEM, "must match")
        self.finds(check(AnalysisEngine="athena"), Level.PROBLEM, "GlueDatabase")

    def test_functions_are_built_for_the_architecture_that_runs_them(self) -> None:
        deployed = Settings(ROOT / "samconfig.toml", "x", "pinlake", None, None, None, {"Architecture": "x86_64"}, {})
        found = parameters.check(deployed, template(Architecture="x86_64"), None)
        self.finds(found, Level.PROBLEM, "build for arm64", "run that on x86_64", "[x.global.parameters]")
        # The stack keeps a parameter that is not given, and the build does not know it.
        kept = Stack("pinlake", "UPDATE_COMPLETE", {"Architecture": "x86_64"}, {})
        found = parameters.check(settings(), template(Architecture="x86_64"), kept)
        self.finds(found, Level.PROBLEM, "the stack keeps it")
        both = settings(Architecture="x86_64")
        before = Stack("pinlake", "UPDATE_COMPLETE", {"Architecture": "arm64"}, {})
        found = parameters.check(both, template(Architecture="x86_64"), before)
        self.finds(found, Level.WARNING, "from arm64 to x86_64")


class ToolchainTest(Findings):
    def check(self, said: dict[str, str | None], rustup: str | None = None) -> list[Finding]:
        """The findings if the programs say what is given; a missing key is a program that fails."""
        run = mock.patch.object(toolchain, "run_tool", lambda *command: said.get(Path(command[0]).name))
        which = mock.patch.object(toolchain.shutil, "which", lambda name: rustup if name == "rustup" else "/bin/x")
        with run, which, mock.patch.dict(os.environ):
            os.environ.pop("CARGO_LAMBDA_COMPILER", None)
            return list(toolchain.check("arm64"))

    def test_all_is_there(self) -> None:
        with tempfile.TemporaryDirectory() as root:
            Path(root, "lib/rustlib/aarch64-unknown-linux-gnu/lib").mkdir(parents=True)
            found = self.check({"cargo": "cargo 1.95.0 (abc 2026-01-01)", "rustc": root, "zig": "0.17.1"})
        self.assertEqual({finding.level for finding in found}, {Level.OK}, found)

    def test_missing_and_old_tools_are_problems(self) -> None:
        found = self.check({})
        bad = {finding.topic: finding for finding in found if finding.level is Level.PROBLEM}
        self.assertEqual(set(bad), {"cargo", "zig"})
        self.assertIn("rustup.rs", bad["cargo"].advice)
        found = self.check({"cargo": "cargo 1.80.1 (abc)", "rustc": "/nowhere", "zig": "0.17.1"}, rustup="/bin/rustup")
        levels = {finding.topic: finding.level for finding in found if finding.level is not Level.OK}
        self.assertEqual(levels, {"cargo": Level.PROBLEM, "rust target": Level.WARNING})


class AccessTest(Findings):
    def test_credentials(self) -> None:
        account = Stubbed()
        account.answers("sts", "get_caller_identity", {"Account": ACCOUNT_ID, "Arn": USER, "UserId": "u"})
        caller, found = access.identify(account)
        self.assertEqual((caller and caller.partition, found.level), ("aws", Level.OK))
        root = f"arn:aws:iam::{ACCOUNT_ID}:root"
        account.answers("sts", "get_caller_identity", {"Account": ACCOUNT_ID, "Arn": root, "UserId": "u"})
        self.finds([access.identify(account)[1]], Level.WARNING, "root user")
        for code, text in (("ExpiredToken", "expired"), ("InvalidClientTokenId", "access key")):
            account.refuses("sts", "get_caller_identity", code)
            self.finds([access.identify(account)[1]], Level.PROBLEM, text)
        with mock.patch.object(account, "client", side_effect=NoCredentialsError()):
            self.finds([access.identify(account)[1]], Level.PROBLEM, "sign in")

    def test_regions(self) -> None:
        self.assertEqual(list(access.check_region(Account(SESSION, REGION))), [])
        self.finds(access.check_region(Account(SESSION, "eu-west-9")), Level.PROBLEM, "eu-west-9")
        self.finds(access.check_region(Account(SESSION, None)), Level.PROBLEM, "REGION=")
        account = Stubbed()
        account.refuses("lambda", "get_account_settings", "UnrecognizedClientException")
        self.finds([access.check_lambda(account)[1]], Level.PROBLEM, f"enable {REGION}")
        account.refuses("lambda", "get_account_settings", "AccessDeniedException")
        self.finds([access.check_lambda(account)[1]], Level.WARNING, "not checked")


class StateTest(Findings):
    def test_names_of_stacks(self) -> None:
        self.assertEqual(list(state.check_name("pinlake-2")), [])
        for name in ("", "2pinlake", "pin_lake", "p" * 129):
            self.finds(state.check_name(name), Level.PROBLEM)

    def test_each_state_has_its_advice(self) -> None:
        cases = {
            "CREATE_COMPLETE": (Level.OK, "updates it"),
            "UPDATE_ROLLBACK_COMPLETE": (Level.OK, "updates it"),
            "REVIEW_IN_PROGRESS": (Level.OK, "creates the stack"),
            "UPDATE_IN_PROGRESS": (Level.PROBLEM, "wait"),
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": (Level.PROBLEM, "wait"),
            "ROLLBACK_COMPLETE": (Level.PROBLEM, "delete-stack"),
            "CREATE_FAILED": (Level.PROBLEM, "delete-stack"),
            "DELETE_FAILED": (Level.PROBLEM, "delete-stack"),
            "UPDATE_ROLLBACK_FAILED": (Level.PROBLEM, "continue-update-rollback"),
            "UPDATE_FAILED": (Level.PROBLEM, "rollback-stack"),
            "IMPORT_ROLLBACK_FAILED": (Level.PROBLEM, "describe-stack-events"),
        }
        for status, (level, advice) in cases.items():
            with self.subTest(status=status):
                self.finds(state.check("pinlake", Stack("pinlake", status, {}, {}), REGION), level, advice)
        self.finds(state.check("pinlake", None, REGION), Level.OK, "creates it")
        broken = Stack(state.SAM_STACK, "ROLLBACK_COMPLETE", {}, {})
        self.finds(state.check_sam_stack(broken, REGION), Level.PROBLEM, state.SAM_STACK)
        self.assertEqual(list(state.check_sam_stack(None, REGION)), [])


class NamesTest(Findings):
    QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/pinlake-triggers"

    def test_the_longest_name_limits_that_of_the_stack(self) -> None:
        for length in (1, 20, 100):
            found = list(names.check_lengths("s" * length, list(template("s" * length).resources())))
            self.assertEqual(found[0].level, Level.PROBLEM if length == 100 else Level.OK)
        longest = int(re.search(r"at most (\d+)", found[0].advice)[1])
        fits = list(template("s" * longest).resources())
        self.finds(names.check_lengths("s" * longest, fits), Level.OK)
        long = list(template("s" * (longest + 1)).resources())
        self.finds(names.check_lengths("s" * (longest + 1), long), Level.PROBLEM, "too long")

    def look_up(self, account: Stubbed, resource: str, stack: Stack | None = None) -> list[Finding]:
        """Looks up the name of one resource only."""
        whole = target(account, stack)
        one = [found for found in whole.resources if found.logical_id == resource]
        return list(names.check_holders(Target(account, whole.template, "pinlake", stack, one, "", "", "")))

    def holds(self, account: Stubbed, stack: str) -> None:
        """CloudFormation answers that a stack holds the queue: with all its resources."""
        item = {"StackName": stack, "Timestamp": "2026-01-01T00:00:00Z", "ResourceStatus": "CREATE_COMPLETE"}
        topic = item | {"LogicalResourceId": "T", "ResourceType": "AWS::SNS::Topic", "PhysicalResourceId": "arn"}
        queue = item | {"LogicalResourceId": "Q", "ResourceType": "AWS::SQS::Queue", "PhysicalResourceId": self.QUEUE}
        account.answers("cloudformation", "describe_stack_resources", {"StackResources": [topic, queue]})

    def test_free_and_own_names_are_fine(self) -> None:
        account = Stubbed()
        account.refuses("sqs", "get_queue_url", NOBODY["sqs", "get_queue_url"])
        self.finds(self.look_up(account, "TriggerQueue"), Level.OK, "1 names")
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        self.finds(self.look_up(account, "TriggerQueue", existing(TriggerQueue=self.QUEUE)), Level.OK)
        account.answers(
            "logs", "describe_log_groups", {"logGroups": [{"logGroupName": "/aws/lambda/pinlake-ingest-2"}]}
        )
        self.finds(self.look_up(account, "IngestLogs"), Level.OK)

    def test_holders_are_named(self) -> None:
        account = Stubbed()
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        self.holds(account, "pinlake-old")
        self.finds(self.look_up(account, "TriggerQueue"), Level.PROBLEM, "belongs to the stack pinlake-old")
        account.answers("logs", "describe_log_groups", {"logGroups": [{"logGroupName": "/aws/lambda/pinlake-ingest"}]})
        account.refuses("cloudformation", "describe_stack_resources", "ValidationError", "Stack for x does not exist")
        found = self.look_up(account, "IngestLogs")
        self.finds(found, Level.PROBLEM, "belongs to no stack", "aws logs delete-log-group", f"--region {REGION}")
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        account.refuses("cloudformation", "describe_stack_resources", "AccessDenied")
        self.finds(self.look_up(account, "TriggerQueue"), Level.PROBLEM, "was not checked")

    def test_a_stack_that_cannot_be_listed_keeps_its_names(self) -> None:
        account = Stubbed()
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        self.holds(account, "pinlake")
        self.finds(self.look_up(account, "TriggerQueue", existing()), Level.OK)
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        account.refuses("cloudformation", "describe_stack_resources", "AccessDenied")
        self.finds(self.look_up(account, "TriggerQueue", existing()), Level.WARNING, "not checked")

    def test_a_name_of_another_type_is_another_name(self) -> None:
        account = Stubbed()
        stack = existing("AWS::Lambda::Function", IngestLogs="/aws/lambda/pinlake-ingest")
        account.answers("logs", "describe_log_groups", {"logGroups": [{"logGroupName": "/aws/lambda/pinlake-ingest"}]})
        account.refuses("cloudformation", "describe_stack_resources", "ValidationError", "Stack for x does not exist")
        self.finds(self.look_up(account, "IngestLogs", stack), Level.PROBLEM, "belongs to no stack")

    def test_a_renamed_resource_of_the_same_stack_is_found(self) -> None:
        account = Stubbed()
        account.answers("sqs", "get_queue_url", {"QueueUrl": self.QUEUE})
        found = self.look_up(account, "TriggerQueue", existing(WakeUpQueue=self.QUEUE))
        self.finds(found, Level.PROBLEM, "WakeUpQueue of this stack", "TriggerQueue in the template")

    def test_what_the_caller_may_not_look_up_is_not_checked(self) -> None:
        account = Stubbed()
        account.refuses("sqs", "get_queue_url", "AccessDenied")
        self.finds(self.look_up(account, "TriggerQueue"), Level.WARNING, "not checked", "queue")


class QuotasTest(Findings):
    def check(
        self, total: int, unreserved: int, own: int | None = None, stack: Stack | None = None, **values: str
    ) -> list[Finding]:
        """The findings about concurrency."""
        account = Stubbed()
        if "IngestConcurrency" in values:
            answer = {} if own is None else {"ReservedConcurrentExecutions": own}
            account.answers("lambda", "get_function_concurrency", answer)
        account.answers("iam", "get_account_summary", {"SummaryMap": {"Roles": 1, "RolesQuota": 1000}})
        limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}
        found = quotas.check(target(account, stack, **values), {"AccountLimit": limit})
        return [finding for finding in found if finding.topic != "memory"]

    def test_concurrency(self) -> None:
        self.finds(self.check(1000, 1000), Level.OK)
        self.finds(self.check(10, 10, ShardCount="20"), Level.WARNING, "10 unreserved of 10", "Service Quotas")
        self.finds(self.check(1000, 1000, IngestConcurrency="900"), Level.OK)
        found = self.check(1000, 1000, IngestConcurrency="901")
        self.finds(found, Level.PROBLEM, "would leave 99", "at most 900")
        self.finds(self.check(10, 10, IngestConcurrency="1"), Level.PROBLEM, "leave IngestConcurrency at 0")
        # The function's own reservation is free again.
        self.finds(self.check(1000, 100, own=900, IngestConcurrency="900"), Level.OK)
        self.finds(self.check(1000, 100, own=900, IngestConcurrency="910"), Level.PROBLEM, "at most 900")

    def test_memory_of_new_accounts(self) -> None:
        account = Stubbed()
        found = list(quotas.check(target(account), None))
        self.assertEqual((found[0].topic, found[0].level), ("memory", Level.OK))
        large = Resource("F", "AWS::Serverless::Function", {"FunctionName": "pinlake-f", "MemorySize": 4096})
        found = list(quotas.check(Target(account, template(), "pinlake", None, [large], "", "", ""), None))
        self.finds(found[:1], Level.WARNING, "not checked", "pinlake-f 4,096 MB")

    def test_roles(self) -> None:
        account = Stubbed()
        account.answers("iam", "get_account_summary", {"SummaryMap": {"Roles": 999, "RolesQuota": 1000}})
        found = [finding for finding in quotas.check(target(account), None) if finding.topic == "roles"]
        self.finds(found, Level.PROBLEM, "1 more")


class ShardsTest(Findings):
    def check(self, now: int | None, wanted: str, limit: int = 20000, used: int | None = None, **values: str) -> Any:
        """The findings for a stream with `now` shards, or without a stream."""
        mode, status = values.pop("mode", "PROVISIONED"), values.pop("status", "ACTIVE")
        account = Stubbed()
        if now is not None:
            stream = {
                "StreamName": "pinlake-records", "StreamARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/x",
                "StreamStatus": status, "RetentionPeriodHours": 24, "StreamCreationTimestamp": "2026-01-01T00:00:00Z",
                "EnhancedMonitoring": [], "OpenShardCount": now, "StreamModeDetails": {"StreamMode": mode},
            }  # fmt: skip
            account.answers("kinesis", "describe_stream_summary", {"StreamDescriptionSummary": stream})
        used = used if used is not None else now or 0
        limits = {
            "ShardLimit": limit,
            "OpenShardCount": used,
            "OnDemandStreamCount": 50,
            "OnDemandStreamCountLimit": 50,
        }
        account.answers("kinesis", "describe_limits", limits)
        stack = existing("AWS::Kinesis::Stream", Stream="pinlake-records") if now is not None else None
        return list(shards.check(target(account, stack, ShardCount=wanted, **values)))

    def refuses(self, now: int, wanted: int, is_refused: bool) -> None:
        with self.subTest(now=now, wanted=wanted):
            found = self.check(now, str(wanted))
            self.assertEqual(any(finding.level is Level.PROBLEM for finding in found), is_refused, found)

    def test_an_update_at_most_doubles_or_halves(self) -> None:
        for now, least, most in ((1, 1, 2), (3, 2, 6), (4, 2, 8), (5, 3, 10)):
            for wanted in {max(1, least - 1), least, most, most + 1}:
                self.refuses(now, wanted, not least <= wanted <= most)
        self.assertIn("ShardCount=2 first", self.check(1, "4")[0].advice)
        self.finds(self.check(None, "4"), Level.OK)

    def test_quotas_of_the_account(self) -> None:
        self.finds(self.check(None, "21", limit=500, used=480), Level.PROBLEM, "501", "500")
        self.finds(self.check(None, "20", limit=500, used=480), Level.OK, "500 of 500")
        self.finds(self.check(None, "1", StreamMode="ON_DEMAND"), Level.PROBLEM, "50 of 50 on-demand")
        self.assertEqual(self.check(4, "1", mode="ON_DEMAND", StreamMode="ON_DEMAND"), [])

    def test_a_stream_that_is_changing(self) -> None:
        self.assertEqual(self.check(1, "1", status="UPDATING")[0].level, Level.PROBLEM)


class PermissionsTest(Findings):
    ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/paths/deployer"

    def check(self, decision: str, *context: str, caller: str = USER, role: str | None = None) -> list[Finding]:
        account = Stubbed()
        if "assumed-role" in caller:
            answer = {"Path": "/", "RoleName": "deployer", "RoleId": "A" * 16, "Arn": self.ROLE}
            answer["CreateDate"] = "2026-01-01T00:00:00Z"
            account.answers("iam", "get_role", {"Role": answer})
        result = {"EvalActionName": "s3:GetObject", "EvalDecision": decision, "MissingContextValues": [*context]}
        for _ in range(60):
            account.answers("iam", "simulate_principal_policy", {"EvaluationResults": [result]})
        self.principals: set[str] = set()
        account.client("iam").meta.events.register(
            "before-parameter-build.iam.SimulatePrincipalPolicy",
            lambda params, **_: self.principals.add(params["PolicySourceArn"]),
        )
        return list(permissions.check(target(account, None, caller, role)))

    def test_decisions(self) -> None:
        self.finds(self.check("allowed"), Level.OK)
        for decision in ("implicitDeny", "explicitDeny"):
            for found in self.check(decision):
                self.finds([found], Level.PROBLEM, "denies on arn:aws:", "s3:GetObject", "Permissions of the deployer")
        for found in self.check("implicitDeny", "aws:RequestTag/team"):
            self.finds([found], Level.WARNING, "conditions")

    def test_principals(self) -> None:
        self.check("allowed", caller=f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/deployer/session")
        self.assertEqual(self.principals, {self.ROLE})
        self.check("allowed", role=f"arn:aws:iam::{ACCOUNT_ID}:role/cloudformation")
        self.assertEqual(self.principals, {USER, f"arn:aws:iam::{ACCOUNT_ID}:role/cloudformation"})
        found = permissions.check(target(Stubbed(), caller=f"arn:aws:iam::{ACCOUNT_ID}:root"))
        self.finds(found, Level.WARNING, "not checked")

    def test_a_caller_that_may_not_simulate_is_told(self) -> None:
        account = Stubbed()
        account.refuses("iam", "simulate_principal_policy", "AccessDenied")
        self.finds(permissions.check(target(account)), Level.WARNING, "not checked", "iam:SimulatePrincipalPolicy")

    def test_every_type_of_the_template_has_its_actions(self) -> None:
        types = {found["Type"] for found in DOCUMENT["Resources"].values()} - {"AWS::Serverless::Function"}
        self.assertEqual(types - set(permissions.ACTIONS), set(), "add them to ACTIONS, and to docs/deploy.md")
        self.assertEqual(set(permissions.SERVERLESS) - set(permissions.ACTIONS), set())

    def test_actions_exist_and_cloudformation_uses_them(self) -> None:
        # cfn-lint's copies of AWS's data. To import it takes longer than all these tests.
        data = Path(importlib.util.find_spec("cfnlint").origin).parent / "data"
        policies = json.loads((data / "AdditionalSpecs" / "Policies.json").read_text())
        known = {service: {action.lower() for action in found["Actions"]} for service, found in policies.items()}
        schemas = json.loads((data / "schemas" / "providers" / "us-east-1.json").read_text())
        listed = [*permissions.ACTIONS.items(), ("sam", permissions.STACK_ACTIONS + permissions.CODE_ACTIONS)]
        compared = 0
        for type_, actions in listed:
            schema = data / "schemas" / "resources" / f"{schemas.get(type_)}.json"
            handlers = json.loads(schema.read_text()).get("handlers", {}) if schema.exists() else {}
            used = {action for handler in handlers.values() for action in handler["permissions"]}
            compared += bool(used)
            for action in actions:
                service, _, name = action.partition(":")
                with self.subTest(type=type_, action=action):
                    self.assertIn(name.lower(), known[service])
                    self.assertTrue(not used or action == "iam:PassRole" or action in used, sorted(used))
        self.assertGreater(compared, 15)

    def test_the_documentation_has_the_same_actions(self) -> None:
        text = (ROOT / "docs" / "deploy.md").read_text()
        rows = re.findall(r"^\| `(AWS::[^`]+)` \| (.+) \|$", text, re.MULTILINE)
        written = {type_: re.findall(r"`([^`]+)`", actions) for type_, actions in rows}
        self.assertEqual(written, {type_: sorted(actions) for type_, actions in permissions.ACTIONS.items()})
        for action in permissions.STACK_ACTIONS + permissions.CODE_ACTIONS:
            self.assertIn(f"`{action}`", text)


class Whole(unittest.TestCase):
    def diagnose(self, account: Stubbed, *overrides: str) -> tuple[int, str]:
        account.answers("sts", "get_caller_identity", {"Account": ACCOUNT_ID, "Arn": USER, "UserId": "u"})
        limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000, "TotalCodeSize": 10**9}
        usage = {"TotalCodeSize": 0, "FunctionCount": 0}
        account.answers("lambda", "get_account_settings", {"AccountLimit": limit, "AccountUsage": usage})
        for _ in range(40):
            for (service, operation), code in NOBODY.items():
                if service != "kinesis":
                    account.refuses(service, operation, code)
            account.answers("logs", "describe_log_groups", {"logGroups": []})
        account.refuses("kinesis", "describe_stream_summary", NOBODY["kinesis", "describe_stream_summary"])
        limits = {"ShardLimit": 500, "OpenShardCount": 0, "OnDemandStreamCount": 0, "OnDemandStreamCountLimit": 50}
        account.answers("kinesis", "describe_limits", limits)
        account.answers("iam", "get_account_summary", {"SummaryMap": {"Roles": 1, "RolesQuota": 1000}})
        result = {"EvalActionName": "s3:GetObject", "EvalDecision": "allowed"}
        for _ in range(60):
            account.answers("iam", "simulate_principal_policy", {"EvaluationResults": [result]})
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), mock.patch.object(toolchain, "check", lambda wanted: iter(())):
            code = doctor.report(doctor.diagnose(settings(), None, lambda region, profile: account))
        return code, printed.getvalue()

    def test_a_fresh_account(self) -> None:
        account = Stubbed()
        for _ in range(2):
            account.refuses("cloudformation", "describe_stacks", "ValidationError", "Stack with id x does not exist")
        code, printed = self.diagnose(account)
        self.assertEqual((code, "warning" in printed, "problem" in printed), (0, False, False), printed)
        self.assertIn(" 0 to look at, 0 to fix", printed)
        # Nothing that a doctor does changes anything.
        reads = re.compile("(Get|List|Describe|Simulate)[A-Z]")
        self.assertEqual([called for called in account.called if not reads.match(called)], [])
        self.assertGreater(len(account.called), 20)
        documented = (ROOT / "docs" / "deploy.md").read_text()
        self.assertEqual([called for called in account.called if f":{called}`" not in documented], [])

    def test_a_stack_whose_creation_failed(self) -> None:
        account = Stubbed()
        account.answers("cloudformation", "describe_stacks", described("ROLLBACK_COMPLETE"))
        account.answers("cloudformation", "list_stack_resources", {"StackResourceSummaries": []})
        account.refuses("cloudformation", "describe_stacks", "ValidationError", "Stack with id x does not exist")
        code, printed = self.diagnose(account)
        self.assertEqual(code, 1, printed)
        self.assertIn("problem  stack: pinlake cannot be updated (ROLLBACK_COMPLETE)", printed)
        self.assertIn("1 to fix", printed)

    def test_neighbours_share_their_advice(self) -> None:
        printed = io.StringIO()
        found = [
            Finding(Level.PROBLEM, "x", text, advice) for text, advice in (("a", "do"), ("b", "do"), ("c", "do not"))
        ]
        with contextlib.redirect_stdout(printed):
            self.assertEqual(doctor.report(found), 1)
        arrows = [line.split() for line in printed.getvalue().splitlines() if "->" in line]
        self.assertEqual(arrows, [["->", "do"], ["->", "do", "not"]])

    def test_without_credentials_the_rest_is_checked(self) -> None:
        account = Stubbed()
        account.refuses("sts", "get_caller_identity", "ExpiredToken")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), mock.patch.object(toolchain, "check", lambda wanted: iter(())):
            code = doctor.report(doctor.diagnose(settings(), None, lambda region, profile: account))
        self.assertEqual(code, 1)
        self.assertIn("ok       names:", printed.getvalue())
        self.assertIn("not checked: names, quotas and permissions", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
