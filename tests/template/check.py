"""What template.yaml promises beyond being valid, which cfn-lint does not look at; `make check` runs it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"


# Besides these, only what a function's own role is granted lets it do anything.
_RESOURCE_POLICIES = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")
_FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")
# Policies that would be attached to a role from outside of it, where wide_permissions does not look.
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
# Of a parameter: the bucket of a sink, topics and groups of a cluster.
_OF_PARAMETER = (r"arn:\$\{AWS::Partition\}:s3:::\$\{\w+\}(/\*)?", r"\$\{Before\}:(topic|group)/\$\{Cluster\}/\*")
# Of services whose resources CloudFormation gives no ARN of: a workgroup of the template; and in the Glue catalog one
# database by a parameter, its tables, and what Athena always looks at.
_HERE = r"\$\{AWS::Region\}:\$\{AWS::AccountId\}"
_WORKGROUP = rf"arn:\$\{{AWS::Partition\}}:athena:{_HERE}:workgroup/\$\{{(\w+)\}}"
_OF_GLUE = (
    rf"arn:\$\{{AWS::Partition\}}:glue:{_HERE}:"
    r"(catalog|database/default|database/\$\{GlueDatabase\}|table/\$\{GlueDatabase\}/\*)"
)


def main() -> int:
    """Prints every broken promise; 0 if there is none."""
    template = yaml_parse(TEMPLATE.read_text())
    broken = promises_broken(template["Resources"], template["Parameters"])
    for promise in broken:
        print(f"template.yaml: {promise}", file=sys.stderr)
    return 1 if broken else 0


def promises_broken(resources: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """All that is not as promised."""
    checks = (
        wide_permissions,
        granted_elsewhere,
        open_to_others,
        own_roles,
        unwatched,
        given_up_early,
        given_up_unseen,
        stopped_as_loops,
    )
    found = [promise for check in checks for promise in check(resources)]
    return found + list(impatient(resources, parameters))


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    """The properties of the resources of one type, by name."""
    return {name: found["Properties"] for name, found in resources.items() if found["Type"] == kind}


def as_list(one_or_many: Any) -> list[Any]:
    """A policy's element may be one thing or a list of them."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def statements_of(policy: dict[str, Any]) -> list[Any]:
    """What a role's policy grants; of one that a parameter asks for, what it grants when it does."""
    policy = policy.get("Fn::If", [None, policy])[1]
    return as_list(policy["PolicyDocument"]["Statement"])


def wide_permissions(resources: dict[str, Any]) -> Iterator[str]:
    """A role may do named things, to named resources or to what is below a prefix."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name}: a managed policy grants on every resource; write its statements out"
        for policy in role.get("Policies", []):
            for number, statement in enumerate(statements_of(policy)):
                where = f"{name}/{statement.get('Sid', number)}"
                yield from (f"{where}: {problem}" for problem in wide_statement(statement, resources))


def wide_statement(statement: dict[str, Any], resources: dict[str, Any]) -> Iterator[str]:
    """What a statement of a role leaves open."""
    if statement["Effect"] != "Allow":
        return
    for inverted in ("NotAction", "NotResource"):
        if inverted in statement:
            yield f"say what is allowed, not {inverted}"
    for action in as_list(statement.get("Action", [])):
        if re.search(r"[*?]", action) or ":" not in action:
            yield f"name the actions, not {action}"
    if _NETWORK_ACTIONS.issuperset(as_list(statement.get("Action", []))):
        return
    for resource in as_list(statement.get("Resource", [])):
        if not is_named(resource, resources):
            yield f"name a resource of this template, or a prefix of one, not {resource}"


def is_named(resource: Any, resources: dict[str, Any]) -> bool:
    """Whether this is the ARN of a resource of the template, a prefix of a bucket of it, or what a parameter names."""
    match resource:
        case {"Fn::GetAtt": [name, "Arn"]}:
            return name in resources
        case {"Fn::Sub": str(written)}:
            prefix = re.fullmatch(r"\$\{(\w+)\.Arn\}/[\w/-]+/\*", written)
            of_bucket = prefix is not None and resources.get(prefix[1], {}).get("Type") == "AWS::S3::Bucket"
            group = re.fullmatch(_WORKGROUP, written)
            of_athena = group is not None and resources.get(group[1], {}).get("Type") == "AWS::Athena::WorkGroup"
            forms = (*_OF_PARAMETER, _OF_GLUE)
            return of_bucket or of_athena or any(re.fullmatch(form, written) for form in forms)
        case {"Fn::Sub": [str(written), _]}:
            return any(re.fullmatch(form, written) for form in _OF_PARAMETER)
        case {"Ref": "KafkaClusterArn"}:
            return True
        case _:
            return False


def granted_elsewhere(resources: dict[str, Any]) -> Iterator[str]:
    """Nothing is granted but in the roles' own statements, where wide_permissions sees it."""
    for name, found in resources.items():
        if found["Type"] in _ATTACHED:
            yield f"{name}: write its statements into the role that they are for"
        if found["Type"] in _FUNCTIONS and found["Properties"].get("Policies"):
            yield f"{name}: write its Policies into its role"


def open_to_others(resources: dict[str, Any]) -> Iterator[str]:
    """A role is for Lambda, a queue and a bucket for services on a condition, a function for all only if it is said."""
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


def own_roles(resources: dict[str, Any]) -> Iterator[str]:
    """Each function has a role and a log group that no other has, and its role writes that log only."""
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


def unwatched(resources: dict[str, Any]) -> Iterator[str]:
    """Each function has an alarm on its errors."""
    watched = {
        dimension["Value"]["Ref"]
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
        if alarm["MetricName"] == "Errors"
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


def given_up_early(resources: dict[str, Any]) -> Iterator[str]:
    """A stream's batch is tried until it is old, in parts if need be, and then kept while the stream still has it."""
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


def given_up_unseen(resources: dict[str, Any]) -> Iterator[str]:
    """Alarms watch what a stream's event source gives up, and the event source counts it."""
    alarms = of_type(resources, "AWS::CloudWatch::Alarm").values()
    watched = [
        (alarm["MetricName"], dimension["Name"], dimension["Value"].get("Ref"))
        for alarm in alarms
        if alarm["Namespace"] == "AWS/Lambda" and len(alarm["Dimensions"]) == 1
        for dimension in alarm["Dimensions"]
    ]
    for name, _, event_name, event in events_of(resources, "Kinesis"):
        if "EventCount" not in event.get("MetricsConfig", {}).get("Metrics", []):
            yield f"{name}/{event_name}: without MetricsConfig EventCount Lambda does not say what was given up"
        # The mapping's logical id, which SAM makes of these two.
        mapping = ("EventSourceMappingUUID", f"{name}{event_name}")
        for metric, dimension in (
            ("OnFailureDestinationDeliveredEventCount", mapping),
            ("DroppedEventCount", mapping),
            ("DestinationDeliveryFailures", ("FunctionName", name)),
        ):
            if (metric, *dimension) not in watched:
                yield f"no alarm watches {metric} of {name}/{event_name}"


def stopped_as_loops(resources: dict[str, Any]) -> Iterator[str]:
    """Lambda does not stop a function that sends itself messages."""
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


def role_of(function: dict[str, Any]) -> str:
    """The role of this template that a function has."""
    match function:
        case {"Role": {"Fn::GetAtt": [str(role), "Arn"]}}:
            return role
    return ""


def impatient(resources: dict[str, Any], parameters: dict[str, Any]) -> Iterator[str]:
    """A message stays hidden for at least six runs of the function that has it and the longest wait for more messages,
    or the function would run twice at once."""
    queues = of_type(resources, "AWS::SQS::Queue")
    for name, function, _, event in events_of(resources, "SQS"):
        queue = event["Queue"]["Fn::GetAtt"][0]
        window = event.get("MaximumBatchingWindowInSeconds", 0)
        if isinstance(window, dict):
            window = parameters[window["Ref"]]["MaxValue"]
        least = 6 * function["Timeout"] + window
        if queues[queue]["VisibilityTimeout"] < least:
            yield f"{queue}: VisibilityTimeout below {least}, six times the Timeout of {name} and its batching window"


if __name__ == "__main__":
    sys.exit(main())
