"""Names that the template derives from the stack's: their length, and who holds them already."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import Account, describe_error, error_code, is_denied
from deploy.finding import Finding, not_checked, ok, problem
from deploy.stack import Existing, Target
from deploy.template import Resource


@dataclass(frozen=True)
class Kind:
    """A type of resource whose name the template sets."""

    noun: str
    #: The property with the name.
    path: str
    #: Characters, by the type's page in the CloudFormation Template Reference, or the service's quotas.
    limit: int
    pattern: str = r"[A-Za-z0-9_.-]+"
    #: Looks a name up: its physical id, or None. None if names are not looked up.
    find: Callable[[Account, str], str | None] | None = None
    #: The command that deletes it.
    delete: str = ""


def _find(service: str, operation: str, argument: str, missing: str) -> Callable[[Account, str], str | None]:
    """A lookup that fails with the error ``missing`` if there is no such name."""

    def find(account: Account, name: str) -> str | None:
        try:
            getattr(account.client(service), operation)(**{argument: name})
        except ClientError as error:
            if error_code(error) == missing:
                return None
            raise
        return name

    return find


def _find_queue(account: Account, name: str) -> str | None:
    try:
        return account.client("sqs").get_queue_url(QueueName=name)["QueueUrl"]
    except ClientError as error:
        # The code of the query protocol, which the JSON protocol keeps, and the name of its own error.
        if error_code(error) in ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
            return None
        raise


def _find_log_group(account: Account, name: str) -> str | None:
    found = account.client("logs").describe_log_groups(logGroupNamePrefix=name, limit=50)["logGroups"]
    return name if any(group["logGroupName"] == name for group in found) else None


def _find_work_group(account: Account, name: str) -> str | None:
    try:
        account.client("athena").get_work_group(WorkGroup=name)
    except ClientError as error:
        if error_code(error) == "InvalidRequestException" and "not found" in str(error):
            return None
        raise
    return name


_FUNCTION = Kind(
    "function",
    "FunctionName",
    64,
    r"[A-Za-z0-9_-]+",
    _find("lambda", "get_function_configuration", "FunctionName", "ResourceNotFoundException"),
    "aws lambda delete-function --function-name {}",
)

KINDS = {
    "AWS::Serverless::Function": _FUNCTION,
    "AWS::Lambda::Function": _FUNCTION,
    "AWS::Kinesis::Stream": Kind(
        "stream",
        "Name",
        128,
        find=_find("kinesis", "describe_stream_summary", "StreamName", "ResourceNotFoundException"),
        delete="aws kinesis delete-stream --stream-name {}",
    ),
    "AWS::SQS::Queue": Kind(
        "queue", "QueueName", 80, r"[A-Za-z0-9_-]+", _find_queue, "aws sqs delete-queue --queue-url {}"
    ),
    "AWS::Logs::LogGroup": Kind(
        "log group",
        "LogGroupName",
        512,
        r"[A-Za-z0-9_./#-]+",
        _find_log_group,
        "aws logs delete-log-group --log-group-name {}",
    ),
    "AWS::Glue::Database": Kind(
        "Glue database",
        "DatabaseInput.Name",
        255,
        find=_find("glue", "get_database", "Name", "EntityNotFoundException"),
        delete="aws glue delete-database --name {}",
    ),
    "AWS::Athena::WorkGroup": Kind(
        "Athena workgroup",
        "Name",
        128,
        find=_find_work_group,
        delete="aws athena delete-work-group --recursive-delete-option --work-group {}",
    ),
    "AWS::CloudWatch::Dashboard": Kind(
        "dashboard",
        "DashboardName",
        255,
        r"[A-Za-z0-9_-]+",
        _find("cloudwatch", "get_dashboard", "DashboardName", "ResourceNotFound"),
        "aws cloudwatch delete-dashboards --dashboard-names {}",
    ),
    "AWS::Budgets::Budget": Kind("budget", "Budget.BudgetName", 100, r"[^:\\]+"),
    "AWS::CloudWatch::Alarm": Kind("alarm", "AlarmName", 255, r".+"),
    "AWS::DynamoDB::Table": Kind("DynamoDB table", "TableName", 255),
    "AWS::Events::Rule": Kind("EventBridge rule", "Name", 64),
    "AWS::IAM::Role": Kind("role", "RoleName", 64, r"[A-Za-z0-9_+=,.@-]+"),
    "AWS::S3::Bucket": Kind("bucket", "BucketName", 63, r"[a-z0-9.-]+"),
    "AWS::Scheduler::Schedule": Kind("schedule", "Name", 64),
    "AWS::SNS::Topic": Kind("SNS topic", "TopicName", 256, r"[A-Za-z0-9_-]+"),
}


def find_names(resources: list[Resource]) -> Iterator[tuple[Resource, Kind, str]]:
    """The resources whose names the template sets, with their names."""
    for resource in resources:
        kind = KINDS.get(resource.type)
        name = resource.find(kind.path) if kind else None
        if kind and name is not None:
            yield resource, kind, str(name)


def check_lengths(stack: str, resources: list[Resource]) -> Iterator[Finding]:
    """Checks length and form of every name."""
    long: list[tuple[int, str]] = []
    invalid = []
    longest = 128
    for _, kind, name in find_names(resources):
        if stack in name:
            longest = min(longest, kind.limit - len(name) + len(stack))
        if len(name) > kind.limit:
            long.append((len(name) - kind.limit, f"{kind.noun} {name} has {len(name)} characters of {kind.limit}"))
        elif not re.fullmatch(kind.pattern, name):
            invalid.append(f"{kind.noun} {name}")
    if long:
        text = f"{len(long)} names are too long; {max(long)[1]}"
        yield problem("names", text, f"choose a stack_name of at most {longest} characters")
    if invalid:
        text = f"characters that the service does not accept: {', '.join(invalid)}"
        yield problem("names", text, "choose another stack_name, or other parameters")
    if not long and not invalid:
        yield ok("names", f"all names that the template derives from {stack} are valid")


def check_holders(target: Target) -> Iterator[Finding]:
    """Looks up who holds the names that the stack will use."""
    unknown: dict[str, str] = {}
    held = looked_up = 0
    for resource, kind, name in find_names(target.resources):
        if kind.find is None:
            continue
        try:
            found = kind.find(target.account, name)
        except (BotoCoreError, ClientError) as error:
            unknown[kind.noun] = error_code(error) if is_denied(error) else describe_error(error)
            continue
        looked_up += 1
        if found is None or _is_own(target, resource, kind, found):
            continue
        finding = _describe_holder(target, resource, kind, name, found)
        if finding:
            held += 1
            yield finding
    if unknown:
        yield not_checked("names", "; ".join(f"names of kind {noun} ({why})" for noun, why in unknown.items()))
    if looked_up and not held:
        yield ok("names", f"no other stack or program holds any of the {looked_up} names that were looked up")


def _is_own(target: Target, resource: Resource, kind: Kind, found: str) -> bool:
    """Whether this stack holds a name under the logical id that it will have."""
    own = target.stack.resources.get(resource.logical_id) if target.stack else None
    return own is not None and _is_same(own, kind, found)


def _is_same(existing: Existing, kind: Kind, found: str) -> bool:
    """Whether a resource is the one that was found under a name of this kind."""
    its_kind = KINDS.get(existing.type)
    if its_kind is None or its_kind.noun != kind.noun:
        return False
    # A queue has several URLs, which end with account and name.
    if found.startswith("http"):
        return existing.physical_id.rsplit("/", 2)[1:] == found.rsplit("/", 2)[1:]
    return existing.physical_id == found


def _describe_holder(target: Target, resource: Resource, kind: Kind, name: str, found: str) -> Finding | None:
    """Whose a name is; None if it is this stack's, whose resources could not be listed."""
    for logical_id, existing in (target.stack.resources if target.stack else {}).items():
        if _is_same(existing, kind, found):
            text = f"{kind.noun} {name} is {logical_id} of this stack, and {resource.logical_id} in the template"
            advice = "CloudFormation creates before it deletes, so give the resource its old logical id or a new name"
            return problem("names", text, advice)
    command = f"{kind.delete.format(found)} --region {target.account.region}"
    delete = f"if nothing in it is needed, `{command}`; otherwise choose another stack_name"
    try:
        holder = _find_holder(target.account, kind, found)
    except (BotoCoreError, ClientError):
        if target.stack and not target.stack.resources:
            return not_checked("names", f"{kind.noun} {name} exists; whether it is this stack's is not known")
        return problem("names", f"{kind.noun} {name} exists; of which stack it is was not checked", delete)
    if holder == target.name:
        return None
    if holder:
        advice = "choose another stack_name, or delete that stack"
        return problem("names", f"{kind.noun} {name} belongs to the stack {holder}", advice)
    text = f"{kind.noun} {name} exists and belongs to no stack: an earlier one left it, or someone created it manually"
    return problem("names", text, delete)


def _find_holder(account: Account, kind: Kind, physical_id: str) -> str | None:
    """The stack that holds a resource; None if there is none."""
    client = account.client("cloudformation")
    try:
        found: list[dict[str, Any]] = client.describe_stack_resources(PhysicalResourceId=physical_id)["StackResources"]
    except ClientError as error:
        # "Stack for ... does not exist"
        if error_code(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    # All resources of a stack, of which one has this physical id.
    listed = ((item["StackName"], Existing(item["ResourceType"], item.get("PhysicalResourceId", ""))) for item in found)
    return next((stack for stack, existing in listed if _is_same(existing, kind, physical_id)), None)
