"""Rules for template.yaml that cfn-lint does not check: narrow permissions, retries, alarms. `make check` runs it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
# Documents the metrics of the functions, which a test holds against shared/platform/src/metrics.rs, and the alarms.
METRICS = TEMPLATE.parent / "docs" / "metrics.md"
# Says for each alarm what it means and what to do.
RUNBOOK = TEMPLATE.parent / "docs" / "runbook.md"
# Imports the resources that a deleted stack keeps: docs/decisions/adopt-by-import.md.
ADOPTED = TEMPLATE.parent / "adopt.yaml"


# The only policies allowed besides the roles of the functions.
_RESOURCE_POLICIES = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")
_FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")
# Policies attached to a role from outside, which wide_permissions does not see.
_ATTACHED = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy", "AWS::IAM::UserPolicy")

# What an event source in a cluster's network needs; these actions take no resource.
_NETWORK_ACTIONS = {
    f"ec2:{action}"
    for action in (
        "CreateNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
        "DescribeSubnets",
        "DescribeVpcs",
    )
}
# X-Ray's actions take no resource either (Service Authorization Reference).
_TRACE_ACTIONS = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}
# ARNs from parameters: the bucket of a sink, topics and groups of a cluster.
_OF_PARAMETER = (r"arn:\$\{AWS::Partition\}:s3:::\$\{\w+\}(/\*)?", r"\$\{Before\}:(topic|group)/\$\{Cluster\}/\*")
# Resources for which CloudFormation returns no ARN: a workgroup of the template, in the Glue catalog the database of a
# parameter, its tables, and what Athena always reads, and the secrets of webhooks that parameters name.
_HERE = r"\$\{AWS::Region\}:\$\{AWS::AccountId\}"
_WORKGROUP = rf"arn:\$\{{AWS::Partition\}}:athena:{_HERE}:workgroup/\$\{{(\w+)\}}"
_OF_GLUE = (
    rf"arn:\$\{{AWS::Partition\}}:glue:{_HERE}:"
    r"(catalog|database/default|database/\$\{GlueDatabase\}|table/\$\{GlueDatabase\}/\*)"
)
_OF_WEBHOOKS = (
    rf"arn:\$\{{AWS::Partition\}}:ssm:{_HERE}:parameter\$\{{WebhookParameters\}}",
    rf"arn:\$\{{AWS::Partition\}}:secretsmanager:{_HERE}:secret:\$\{{WebhookSecrets\}}-\?{{6}}",
)


def main() -> int:
    """Prints every broken rule. Returns 0 if there is none."""
    template = yaml_parse(TEMPLATE.read_text())
    broken = find_broken_promises(template["Resources"])
    broken += alarm_problems(template["Resources"])
    for promise in broken:
        print(f"template.yaml: {promise}", file=sys.stderr)
    return 1 if broken else 0


def find_broken_promises(resources: dict[str, Any]) -> list[str]:
    """Returns every rule that the template breaks, with where and how to fix it."""
    checks = (
        wide_permissions,
        policies_outside_roles,
        public_access,
        shared_roles_and_logs,
        functions_without_error_alarm,
        early_discards,
        unwatched_discards,
        missing_recursive_loop,
        short_visibility_timeouts,
        names_that_stay,
        differences_of_adopted,
    )
    return [promise for check in checks for promise in check(resources)]


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    """The properties of the resources of one type, by name."""
    return {name: found["Properties"] for name, found in resources.items() if found["Type"] == kind}


def as_list(one_or_many: Any) -> list[Any]:
    """Returns a policy element, which may be one value or a list, as a list."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def statements_of(policy: dict[str, Any]) -> list[Any]:
    """Returns the statements of a role's policy, including those that depend on a parameter."""
    policy = policy.get("Fn::If", [None, policy])[1]
    return as_list(policy["PolicyDocument"]["Statement"])


def wide_permissions(resources: dict[str, Any]) -> Iterator[str]:
    """A role allows named actions on named resources or on a prefix."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name}: a managed policy grants on every resource; write its statements out"
        for policy in role.get("Policies", []):
            for number, statement in enumerate(statements_of(policy)):
                where = f"{name}/{statement.get('Sid', number)}"
                yield from (f"{where}: {problem}" for problem in open_parts_of_statement(statement, resources))


def open_parts_of_statement(statement: dict[str, Any], resources: dict[str, Any]) -> Iterator[str]:
    """Finds wildcards in a statement of a role."""
    if statement["Effect"] != "Allow":
        return
    for inverted in ("NotAction", "NotResource"):
        if inverted in statement:
            yield f"say what is allowed, not {inverted}"
    for action in as_list(statement.get("Action", [])):
        if re.search(r"[*?]", action) or ":" not in action:
            yield f"name the actions, not {action}"
    actions = as_list(statement.get("Action", []))
    if _NETWORK_ACTIONS.issuperset(actions) or _TRACE_ACTIONS.issuperset(actions):
        return
    for resource in as_list(statement.get("Resource", [])):
        if not is_named(resource, resources):
            yield f"name a resource of this template, or a prefix of one, not {resource}"


def is_named(resource: Any, resources: dict[str, Any]) -> bool:
    """Whether an ARN is that of a resource of the template, a prefix of its bucket, or named by a parameter."""
    match resource:
        case {"Fn::GetAtt": [name, "Arn"]}:
            return name in resources
        case {"Fn::Sub": str(written)}:
            prefix = re.fullmatch(r"\$\{(\w+)\.Arn\}/[\w/-]+/\*", written)
            of_bucket = prefix is not None and resources.get(prefix[1], {}).get("Type") == "AWS::S3::Bucket"
            group = re.fullmatch(_WORKGROUP, written)
            of_athena = group is not None and resources.get(group[1], {}).get("Type") == "AWS::Athena::WorkGroup"
            forms = (*_OF_PARAMETER, _OF_GLUE, *_OF_WEBHOOKS)
            return of_bucket or of_athena or any(re.fullmatch(form, written) for form in forms)
        case {"Fn::Sub": [str(written), _]}:
            return any(re.fullmatch(form, written) for form in _OF_PARAMETER)
        case {"Ref": "KafkaClusterArn"}:
            return True
        case _:
            return False


def policies_outside_roles(resources: dict[str, Any]) -> Iterator[str]:
    """Permissions are granted only in the statements of roles, where wide_permissions checks them."""
    for name, found in resources.items():
        if found["Type"] in _ATTACHED:
            yield f"{name}: write its statements into the role that they are for"
        if found["Type"] in _FUNCTIONS and found["Properties"].get("Policies"):
            yield f"{name}: write its Policies into its role"


def public_access(resources: dict[str, Any]) -> Iterator[str]:
    """Only Lambda may assume a role; queues and buckets admit services on a condition; public URLs need a parameter."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for statement in as_list(role["AssumeRolePolicyDocument"]["Statement"]):
            if statement["Principal"] != {"Service": "lambda.amazonaws.com"}:
                yield f"{name}: only Lambda may assume it, not {statement['Principal']}"
    for kind in _RESOURCE_POLICIES:
        for name, policy in of_type(resources, kind).items():
            for statement in as_list(policy["PolicyDocument"]["Statement"]):
                if statement["Effect"] != "Allow":
                    continue
                if set(statement["Principal"]) != {"Service"} or not statement.get("Condition"):
                    yield f"{name}/{statement['Sid']}: allow it to a service, on a condition"
    for name, found in resources.items():
        is_for_all = found["Type"] == "AWS::Lambda::Permission" and found["Properties"]["Principal"] == "*"
        if is_for_all and "Condition" not in found:
            yield f"{name}: everybody may invoke the function whatever the parameters say; give it a Condition"
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        if function.get("FunctionUrlConfig", {}).get("AuthType") == "NONE":
            yield f"{name}: its URL is open to everybody whatever the parameters say"


def shared_roles_and_logs(resources: dict[str, Any]) -> Iterator[str]:
    """Each function has its own role and log group, and the role writes to that log group only."""
    owners: dict[str, str] = {}
    for name, found in resources.items():
        if found["Type"] not in _FUNCTIONS:
            continue
        match found["Properties"]:
            case {"Role": {"Fn::GetAtt": [role, "Arn"]}, "LoggingConfig": {"LogGroup": {"Ref": group}}}:
                pass
            case _:
                yield f"{name}: give it a Role and a LoggingConfig of this template"
                continue
        for part, kind in ((role, "AWS::IAM::Role"), (group, "AWS::Logs::LogGroup")):
            if resources.get(part, {}).get("Type") != kind:
                yield f"{name}: {part} is no {kind}"
            elif (other := owners.setdefault(part, name)) != name:
                yield f"{name} and {other} share {part}"
        for log in sorted(logs_of(resources.get(role, {}))):
            if log != group:
                yield f"{role}: it may write {log}, which is not {name}'s log"


def logs_of(role: dict[str, Any]) -> set[str]:
    """The log groups that a role may write to."""
    return {
        resource["Fn::GetAtt"][0]
        for policy in role.get("Properties", {}).get("Policies", [])
        for statement in statements_of(policy)
        if any(action.startswith("logs:") for action in as_list(statement.get("Action", [])))
        for resource in as_list(statement.get("Resource", []))
        if isinstance(resource, dict) and "Fn::GetAtt" in resource
    }


def functions_without_error_alarm(resources: dict[str, Any]) -> Iterator[str]:
    """Each function has an alarm on its errors."""
    watched = {
        dimension["Value"]["Ref"]
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
        if alarm.get("MetricName") == "Errors"
        for dimension in alarm["Dimensions"]
    }
    for name in of_type(resources, "AWS::Serverless::Function"):
        if name not in watched:
            yield f"no alarm watches the errors of {name}"


def events_of(resources: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any], str, dict[str, Any]]]:
    """Functions with an event source of a type: the function's name and properties, the event's name and properties."""
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        for event_name, event in function.get("Events", {}).items():
            if event["Type"] == kind:
                yield name, function, event_name, event["Properties"]


def early_discards(resources: dict[str, Any]) -> Iterator[str]:
    """A batch is retried until it is old, bisected if needed, and then kept while the stream still has it."""
    for name, _, event_name, event in events_of(resources, "Kinesis"):
        where = f"{name}/{event_name}"
        if event.get("MaximumRetryAttempts", -1) != -1:
            yield f"{where}: retries come at once, so any MaximumRetryAttempts is used up by a short failure; give none"
        hours = resources[event["Stream"]["Fn::GetAtt"][0]]["Properties"]["RetentionPeriodHours"]
        most = (hours - 24) * 3600
        if not 0 < event.get("MaximumRecordAgeInSeconds", -1) <= most:
            yield f"{where}: MaximumRecordAgeInSeconds has to be {most} at most, a day below what the stream keeps"
        if event.get("BisectBatchOnFunctionError") is not True:
            yield f"{where}: set BisectBatchOnFunctionError, or a record that crashes the function keeps back a batch"
        on_failure = event.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", {})
        bucket = on_failure.get("Fn::GetAtt", [""])[0]
        if resources.get(bucket, {}).get("Type") != "AWS::S3::Bucket":
            yield f"{where}: OnFailure has to be a bucket; other destinations do not get the records"


def unwatched_discards(resources: dict[str, Any]) -> Iterator[str]:
    """The event source counts the batches that it discards, and alarms watch the counts."""
    alarms = of_type(resources, "AWS::CloudWatch::Alarm").values()
    watched = [
        (alarm["MetricName"], dimension["Name"], dimension["Value"].get("Ref"))
        for alarm in alarms
        if alarm.get("Namespace") == "AWS/Lambda" and len(alarm["Dimensions"]) == 1
        for dimension in alarm["Dimensions"]
    ]
    for name, _, event_name, event in events_of(resources, "Kinesis"):
        if "EventCount" not in event.get("MetricsConfig", {}).get("Metrics", []):
            yield f"{name}/{event_name}: without MetricsConfig EventCount Lambda does not count discarded batches"
        # SAM builds the logical id of the mapping from these two names.
        mapping = ("EventSourceMappingUUID", f"{name}{event_name}")
        for metric, dimension in (
            ("OnFailureDestinationDeliveredEventCount", mapping),
            ("DroppedEventCount", mapping),
            ("DestinationDeliveryFailures", ("FunctionName", name)),
        ):
            if (metric, *dimension) not in watched:
                yield f"no alarm watches {metric} of {name}/{event_name}"


def documented_metrics() -> dict[tuple[str, str], set[frozenset[str]]]:
    """The sets of dimensions of each metric in docs/metrics.md, by function and name."""
    rows = re.findall(r"^\| (\w+) \| `(\w+)` \| \w+ \| ([\w,; ]+) \|", METRICS.read_text(), re.MULTILINE)
    return {
        (function, metric): {frozenset(names.strip().split(", ")) - {"none"} for names in sets.split(";")}
        for function, metric, sets in rows
    }


def alarm_problems(resources: dict[str, Any]) -> list[str]:
    """Alarms that are not documented, or that watch no metric of a function."""
    return [
        *undocumented_alarms(resources),
        *alarms_without_a_section(resources, RUNBOOK.read_text()),
        *alarms_without_a_metric(resources),
    ]


def undocumented_alarms(resources: dict[str, Any]) -> Iterator[str]:
    """docs/metrics.md lists the template's alarms and no others."""
    documented = set(re.findall(r"^\| `(\w+Alarm)` \|", METRICS.read_text(), re.MULTILINE))
    alarms = set(of_type(resources, "AWS::CloudWatch::Alarm"))
    yield from (f"{name}: add a row to docs/metrics.md" for name in sorted(alarms - documented))
    yield from (f"{name}: only in docs/metrics.md, not in the template" for name in sorted(documented - alarms))


def alarms_without_a_section(resources: dict[str, Any], runbook: str) -> Iterator[str]:
    """docs/runbook.md has a section for each alarm of the template, with numbered steps, and for no other alarm."""
    _, *sections = re.split(r"^## ", runbook, flags=re.MULTILINE)
    written = {title: text for title, _, text in (section.partition("\n") for section in sections)}
    alarms = set(of_type(resources, "AWS::CloudWatch::Alarm"))
    for name in sorted(alarms):
        if name not in written:
            yield f"{name}: docs/runbook.md has no section ## {name}"
        elif not re.search(r"^1\. ", written[name], re.MULTILINE):
            yield f"{name}: its section of docs/runbook.md has no numbered steps"
    for title in written:
        if re.search(r"\w+Alarm\b", title) and title not in alarms:
            yield f"{title}: a section of docs/runbook.md, but no alarm of the template"


def alarms_without_a_metric(resources: dict[str, Any]) -> Iterator[str]:
    """An alarm in the stack's own namespace watches a metric that a function emits with exactly these dimensions.

    CloudWatch does not add up dimensions: an alarm on fewer or more of them never fires.
    """
    metrics = documented_metrics()
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        if alarm.get("Namespace") != {"Ref": "AWS::StackName"}:
            continue
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in alarm.get("Dimensions", [])}
        metric = (dimensions.get("function", ""), alarm["MetricName"])
        over_all = [sets for (_, own), sets in metrics.items() if own == alarm["MetricName"]]
        if not dimensions and any(frozenset() in sets for sets in over_all):
            continue
        if metric not in metrics:
            yield f"{name}: no function emits {alarm['MetricName']} with these dimensions; see docs/metrics.md"
        elif frozenset(dimensions) not in metrics[metric]:
            sets = " or ".join(", ".join(sorted(names)) for names in metrics[metric])
            yield f"{name}: {alarm['MetricName']} has the dimensions {sets}"


def missing_recursive_loop(resources: dict[str, Any]) -> Iterator[str]:
    """A function that sends to the queue that invokes it allows recursion, or Lambda stops it."""
    for name, function, _, event in events_of(resources, "SQS"):
        queue = event["Queue"]["Fn::GetAtt"][0]
        sends = any(
            "sqs:SendMessage" in as_list(statement.get("Action", []))
            and {"Fn::GetAtt": [queue, "Arn"]} in as_list(statement.get("Resource", []))
            for policy in resources.get(role_of(function), {}).get("Properties", {}).get("Policies", [])
            for statement in statements_of(policy)
        )
        if sends and function.get("RecursiveLoop") != "Allow":
            yield f"{name}: it may send to {queue}, which invokes it; say RecursiveLoop: Allow, or Lambda stops it"


def names_that_stay(resources: dict[str, Any]) -> Iterator[str]:
    """What has a name of the template is deleted with the stack, or the name blocks the next deployment."""
    named = ("Name", "BucketName", "TableName", "QueueName", "LogGroupName", "FunctionName", "TopicName", "AlarmName")
    for name, resource in resources.items():
        kept = resource.get("DeletionPolicy", "Delete") != "Delete"
        if kept and any(each in resource["Properties"] for each in named):
            yield f"{name}: a resource that is kept must have a generated name"
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for statement in (each for policy in role.get("Policies", []) for each in statements_of(policy)):
            if "logs:CreateLogGroup" in as_list(statement.get("Action", [])):
                yield f"{name}: logs:CreateLogGroup creates the log group again while the stack is deleted"


def differences_of_adopted(resources: dict[str, Any]) -> Iterator[str]:
    """adopt.yaml has exactly the resources that a deleted stack keeps, with some of their properties."""
    adopted = yaml_parse(ADOPTED.read_text())["Resources"]
    kept = {name: found for name, found in resources.items() if found.get("DeletionPolicy", "Delete") != "Delete"}
    for name in sorted(adopted.keys() ^ kept.keys()):
        yield f"{name}: a deleted stack keeps it, or adopt.yaml imports it, but not both"
    for name in sorted(adopted.keys() & kept.keys()):
        mine, theirs = adopted[name], kept[name]
        same = all(mine.get(key) == theirs.get(key) for key in ("Type", "DeletionPolicy", "UpdateReplacePolicy"))
        if not same or not mine.get("Properties", {}).items() <= theirs["Properties"].items():
            yield f"{name}: adopt.yaml says otherwise"


def role_of(function: dict[str, Any]) -> str:
    """Returns the role of a function, if it is in this template."""
    match function:
        case {"Role": {"Fn::GetAtt": [str(role), "Arn"]}}:
            return role
    return ""


def short_visibility_timeouts(resources: dict[str, Any]) -> Iterator[str]:
    """A queue's VisibilityTimeout is at least six times the function's Timeout plus the batching window.

    Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping".
    """
    queues = of_type(resources, "AWS::SQS::Queue")
    for name, function, _, event in events_of(resources, "SQS"):
        queue = event["Queue"]["Fn::GetAtt"][0]
        window = event.get("MaximumBatchingWindowInSeconds", 0)
        if isinstance(window, dict):
            # The parameter's AllowedPattern admits 300 at most, the limit of Lambda.
            window = 300
        least = 6 * function["Timeout"] + window
        if queues[queue]["VisibilityTimeout"] < least:
            yield f"{queue}: VisibilityTimeout below {least}, six times the Timeout of {name} and its batching window"


if __name__ == "__main__":
    sys.exit(main())
