"""Each rule of check.py finds its own violation in a changed template. `make check` runs it."""

import copy
import json
import re
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

sys.path.insert(0, str(Path(__file__).parent))
from check import RUNBOOK, TEMPLATE, alarm_problems, alarms_without_a_section, find_broken_promises

READ = yaml_parse(TEMPLATE.read_text())
RESOURCES = READ["Resources"]
ROLES = [name for name, found in RESOURCES.items() if found["Type"] == "AWS::IAM::Role"]
FUNCTIONS = [name for name, found in RESOURCES.items() if found["Type"] == "AWS::Serverless::Function"]
ALARMS = sorted(name for name, found in RESOURCES.items() if found["Type"] == "AWS::CloudWatch::Alarm")

# The ARNs of resources for which CloudFormation returns none, as in the template.
GLUE = "arn:${AWS::Partition}:glue:${AWS::Region}:${AWS::AccountId}"
ATHENA = "arn:${AWS::Partition}:athena:${AWS::Region}:${AWS::AccountId}"


def statements(resources: dict[str, Any], role: str) -> list[dict[str, Any]]:
    return resources[role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]


class Check(unittest.TestCase):
    def breaks(self, about: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Checks that the change breaks exactly one rule, and that the message contains `about`."""
        resources = copy.deepcopy(RESOURCES)
        change(resources)
        broken = find_broken_promises(resources)
        self.assertEqual([about in promise for promise in broken], [True], broken)

    def test_the_template_keeps_its_promises(self) -> None:
        self.assertEqual(find_broken_promises(RESOURCES), [])

    def test_wide_statements_of_each_role_are_found(self) -> None:
        # Those of the Rust functions, and of the function that registers tables.
        self.assertEqual(len(ROLES), len(FUNCTIONS) + 1)
        for role in ROLES:
            for statement in (
                {"Effect": "Allow", "Action": "s3:*", "Resource": {"Fn::GetAtt": ["Lake", "Arn"]}},
                {"Effect": "Allow", "Action": "s3:Get?bject", "Resource": {"Fn::GetAtt": ["Lake", "Arn"]}},
                {"Effect": "Allow", "Action": "*", "Resource": {"Fn::GetAtt": ["Lake", "Arn"]}},
                {"Effect": "Allow", "NotAction": "s3:GetObject", "Resource": {"Fn::GetAtt": ["Lake", "Arn"]}},
                {"Effect": "Allow", "Action": "s3:GetObject", "NotResource": {"Fn::GetAtt": ["Lake", "Arn"]}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::somebody/raw/*"},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Ref": "SomeParameter"}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Lake.Arn}/*"}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Lake.Arn}*"}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": "${Lake.Arn}/*/raw/*"}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Sub": ["${Any}/raw/*", {"Any": "*"}]}},
                {"Effect": "Allow", "Action": "s3:GetObject", "Resource": {"Fn::Join": ["", ["arn:aws:s3:::", "*"]]}},
                {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["Elsewhere", "Arn"]}},
                {"Effect": "Allow", "Action": "glue:GetTable", "Resource": {"Fn::Sub": f"{GLUE}:table/*"}},
                {"Effect": "Allow", "Action": "glue:GetTable", "Resource": {"Fn::Sub": f"{GLUE}:table/default/*"}},
                {
                    "Effect": "Allow",
                    "Action": "athena:GetQueryResults",
                    "Resource": {"Fn::Sub": f"{ATHENA}:workgroup/*"},
                },
                {
                    "Effect": "Allow",
                    "Action": "athena:GetQueryResults",
                    "Resource": {"Fn::Sub": f"{ATHENA}:workgroup/${{Lake}}"},
                },
            ):
                with self.subTest(role=role, statement=statement):
                    self.breaks(role, lambda changed, s=statement, r=role: statements(changed, r).append(s))

    def test_policies_beside_a_role_are_found(self) -> None:
        policy = {"Type": "AWS::IAM::Policy", "Properties": {}}
        self.breaks("Extra", lambda changed: changed.update(Extra=policy))
        managed = {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}
        for role in ROLES:
            self.breaks(role, lambda changed, r=role: changed[r]["Properties"].update(managed))
        policies = {"Policies": "AmazonS3FullAccess"}
        for function in FUNCTIONS:
            self.breaks(function, lambda changed, f=function: changed[f]["Properties"].update(policies))

    def test_a_function_has_a_role_and_a_log_of_its_own(self) -> None:
        first, second = FUNCTIONS[:2]
        for part in ("Role", "LoggingConfig"):
            for function in FUNCTIONS:
                self.breaks(function, lambda changed, f=function, p=part: changed[f]["Properties"].pop(p))
        literal = {"Role": "arn:aws:iam::123456789012:role/admin"}
        self.breaks(first, lambda changed: changed[first]["Properties"].update(literal))
        resources = copy.deepcopy(RESOURCES)
        resources[second]["Properties"]["Role"] = resources[first]["Properties"]["Role"]
        self.assertIn(f"{second} and {first} share {first}Role", find_broken_promises(resources))

    def test_public_access_is_found(self) -> None:
        everybody = {"AWS": "*"}
        for role in ROLES:

            def assume(changed: dict[str, Any], role: str = role) -> None:
                document = copy.deepcopy(changed[role]["Properties"]["AssumeRolePolicyDocument"])
                document["Statement"][0]["Principal"] = everybody
                changed[role]["Properties"]["AssumeRolePolicyDocument"] = document

            self.breaks(role, assume)
        queue = "TriggerQueuePolicy"

        def unconditional(changed: dict[str, Any]) -> None:
            del changed[queue]["Properties"]["PolicyDocument"]["Statement"][0]["Condition"]

        self.breaks(queue, unconditional)
        self.breaks("IngestUrlPublicPermission", lambda changed: changed["IngestUrlPublicPermission"].pop("Condition"))
        url = {"AuthType": "NONE"}
        self.breaks("Ingest", lambda changed: changed["Ingest"]["Properties"]["FunctionUrlConfig"].update(url))

    def test_an_event_source_discards_nothing_early(self) -> None:
        def records(changed: dict[str, Any]) -> dict[str, Any]:
            return changed["Cleaner"]["Properties"]["Events"]["Records"]["Properties"]

        for setting in (
            {"MaximumRetryAttempts": 20},
            {"MaximumRetryAttempts": 0},
            {"MaximumRecordAgeInSeconds": 604800},
            {"MaximumRecordAgeInSeconds": -1},
            {"BisectBatchOnFunctionError": False},
            {"DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["TriggerDeadLetters", "Arn"]}}}},
            {"MetricsConfig": {"Metrics": []}},
        ):
            with self.subTest(setting=setting):
                self.breaks("Cleaner/Records", lambda changed, s=setting: records(changed).update(s))
        for name in (
            "MaximumRecordAgeInSeconds",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "MetricsConfig",
        ):
            with self.subTest(without=name):
                self.breaks("Cleaner/Records", lambda changed, n=name: records(changed).pop(n))

    def test_discarded_batches_are_watched(self) -> None:
        elsewhere = {"Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Ingest"}}]}
        for alarm, metric in (
            ("DiscardedBatchesAlarm", "OnFailureDestinationDeliveredEventCount"),
            ("DroppedEventsAlarm", "DroppedEventCount"),
            ("DiscardDeliveryFailuresAlarm", "DestinationDeliveryFailures"),
        ):
            with self.subTest(alarm=alarm):
                self.breaks(metric, lambda changed, a=alarm: changed.pop(a))
                for other in (elsewhere, {"Namespace": {"Ref": "AWS::StackName"}}):
                    self.breaks(metric, lambda changed, a=alarm, o=other: changed[a]["Properties"].update(o))

    def test_the_sample_event_of_the_canary_is_that_of_its_schedule(self) -> None:
        sent = json.loads(RESOURCES["Ingest"]["Properties"]["Events"]["TestRecord"]["Properties"]["Input"])
        sample = json.loads((TEMPLATE.parent / "events" / "ingest_canary.json").read_text())
        self.assertEqual(sent, sample)

    def test_alarms_are_documented_and_watch_metrics_that_functions_emit(self) -> None:
        alarm = "CleanerRetriesAlarm"
        self.assertEqual(alarm_problems(RESOURCES), [])
        # docs/metrics.md and docs/runbook.md.
        without = {name: found for name, found in RESOURCES.items() if name != alarm}
        self.assertEqual([alarm in problem for problem in alarm_problems(without)], [True, True])
        with_another = RESOURCES | {"AnotherAlarm": RESOURCES[alarm]}
        self.assertEqual(["AnotherAlarm" in problem for problem in alarm_problems(with_another)], [True, True])
        by_dataset = [{"Name": "function", "Value": "cleaner"}, {"Name": "dataset", "Value": "pin"}]
        for settings in (
            {"MetricName": "landings_failed"},
            {"Dimensions": [{"Name": "function", "Value": "compactor"}]},
            {"Dimensions": []},
            {"Dimensions": by_dataset},
        ):
            with self.subTest(settings=settings):
                resources = copy.deepcopy(RESOURCES)
                resources[alarm]["Properties"].update(settings)
                self.assertEqual([alarm in problem for problem in alarm_problems(resources)], [True])

    def test_each_alarm_has_a_section_of_the_runbook(self) -> None:
        runbook, alarm = RUNBOOK.read_text(), "CleanerRetriesAlarm"
        self.assertEqual(list(alarms_without_a_section(RESOURCES, runbook)), [])
        for changed, expected in (
            (runbook.replace(f"## {alarm}\n", ""), [f"{alarm}: docs/runbook.md has no section"]),
            (runbook.replace(f"## {alarm}\n", f"## {alarm}\n\n## Steps\n"), [f"{alarm}: its section"]),
            (f"{runbook}\n## OldAlarm\n", ["OldAlarm: a section"]),
            (f"{runbook}\n## The OldAlarm of 0.1\n", ["The OldAlarm of 0.1: a section"]),
            ("", [f"{name}: docs/runbook.md has no section" for name in ALARMS]),
        ):
            problems = list(alarms_without_a_section(RESOURCES, changed))
            with self.subTest(expected=expected):
                self.assertEqual(len(problems), len(expected), problems)
                for problem, beginning in zip(problems, expected, strict=True):
                    self.assertTrue(problem.startswith(beginning), problem)

    def test_a_visibility_timeout_covers_its_function(self) -> None:
        queue, compactor = "TriggerQueue", "Compactor"
        self.breaks(queue, lambda changed: changed[queue]["Properties"].update(VisibilityTimeout=1019))
        self.breaks(queue, lambda changed: changed[compactor]["Properties"].update(Timeout=121))

    def test_a_deleted_stack_leaves_no_name(self) -> None:
        def named(changed: dict[str, Any]) -> None:
            changed["Lake"]["Properties"]["BucketName"] = "lake"

        def grant(changed: dict[str, Any]) -> None:
            statements(changed, ROLES[0])[0]["Action"].append("logs:CreateLogGroup")

        self.breaks("generated name", named)
        self.breaks("while the stack is deleted", grant)

    def test_the_resources_to_adopt_are_those_that_are_kept(self) -> None:
        self.breaks("Results: a deleted stack keeps it, or", lambda changed: changed["Results"].pop("DeletionPolicy"))
        self.breaks("Sweep: a deleted", lambda changed: changed["Sweep"].update(DeletionPolicy="Retain"))
        for change in (
            lambda changed: changed["Lake"].update(DeletionPolicy="Retain"),
            lambda changed: changed["Results"]["Properties"].update(BillingMode="PROVISIONED"),
        ):
            self.breaks("adopt.yaml says otherwise", change)

    def test_a_function_that_sends_itself_messages_allows_recursion(self) -> None:
        self.breaks("Compactor", lambda changed: changed["Compactor"]["Properties"].pop("RecursiveLoop"))
        terminate = {"RecursiveLoop": "Terminate"}
        self.breaks("Compactor", lambda changed: changed["Compactor"]["Properties"].update(terminate))

    def test_the_sample_policy_lets_a_caller_through_the_url(self) -> None:
        text = (TEMPLATE.parent / "docs" / "api.md").read_text()
        policies = [block for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if "Statement" in block]
        self.assertEqual(len(policies), 1)
        granted = {statement["Action"]: statement["Condition"] for statement in json.loads(policies[0])["Statement"]}
        through_url = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
        signed = {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
        self.assertEqual(granted, {"lambda:InvokeFunctionUrl": signed, "lambda:InvokeFunction": through_url})


if __name__ == "__main__":
    unittest.main()
