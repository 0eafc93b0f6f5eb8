"""Quotas of the account: concurrency, memory, code, roles."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import describe_error, error_code
from deploy.finding import Finding, not_checked, ok, problem, warning
from deploy.stack import Target
from deploy.template import Resource

#: Lambda Developer Guide, "Configuring reserved concurrency for a function".
UNRESERVED = 100
#: MB. New accounts have a reduced quota (Lambda Developer Guide, "Lambda quotas"), and no API returns it.
SMALL_ACCOUNT_MEMORY = 3008
_FUNCTIONS = ("AWS::Serverless::Function", "AWS::Lambda::Function")


def check(target: Target, settings: dict[str, Any] | None) -> Iterator[Finding]:
    """Checks the quotas. ``settings``: what lambda:GetAccountSettings returned."""
    functions = [resource for resource in target.resources if resource.type in _FUNCTIONS]
    yield from _check_memory(functions)
    if settings is None:
        yield not_checked("concurrency", "Lambda did not return the account's settings")
    else:
        yield from _check_reservations(target, functions, settings["AccountLimit"])
        yield from _check_code(settings)
    yield from _check_roles(target)


def _check_memory(functions: list[Resource]) -> Iterator[Finding]:
    large = {str(found.find("FunctionName")): int(found.find("MemorySize") or 128) for found in functions}
    large = {name: size for name, size in large.items() if size > SMALL_ACCOUNT_MEMORY}
    if large:
        named = ", ".join(f"{name} {size:,} MB" for name, size in large.items())
        text = f"not checked: no API returns the largest memory of a function; {named}"
        yield warning("memory", text, f"new accounts have {SMALL_ACCOUNT_MEMORY:,} MB; ask AWS Support for more")
    else:
        yield ok("memory", f"no function has more than the {SMALL_ACCOUNT_MEMORY:,} MB of a new account")


def _check_reservations(target: Target, functions: list[Resource], limit: dict[str, Any]) -> Iterator[Finding]:
    total, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    wanted = {str(found.find("FunctionName")): found.find("ReservedConcurrentExecutions") for found in functions}
    wanted = {name: int(number) for name, number in wanted.items() if number}
    try:
        before = sum(_reserved(target, name) for name in wanted)
    except (BotoCoreError, ClientError) as error:
        yield not_checked("concurrency", f"reservations of the functions: {describe_error(error)}")
        return
    more = sum(wanted.values()) - before
    increase = 'request more of "Concurrent executions" of Lambda in Service Quotas (code L-B99A9384)'
    if more > 0 and unreserved - more < UNRESERVED:
        most = max(0, unreserved - UNRESERVED + before)
        reserved = f"{sum(wanted.values())} reserved would leave {unreserved - more} of the account's {total}"
        instead = f"set IngestConcurrency to at most {most}" if most else "leave IngestConcurrency at 0"
        text = f"{reserved}, and {UNRESERVED} must stay unreserved"
        yield problem("concurrency", text, f"{instead}, or {increase}")
        return
    left = unreserved - more
    needed = _needed(target, functions)
    if left < needed:
        text = f"{left} unreserved of {total}; under load the functions use {needed} and would throttle one another"
        yield warning("concurrency", text, increase)
    else:
        yield ok("concurrency", f"{left} of {total} stay unreserved; under load the functions need about {needed}")


def _reserved(target: Target, function: str) -> int:
    """The present reservation of a function."""
    try:
        answer = target.account.client("lambda").get_function_concurrency(FunctionName=function)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return 0
        raise
    return answer.get("ReservedConcurrentExecutions", 0)


def _needed(target: Target, functions: list[Resource]) -> int:
    """Concurrent executions under load: the cleaner's one for each shard, the compactor's limit, one for each other
    function."""
    needed = 0
    for function in functions:
        events = function.properties.get("Events", {}).values()
        sources = [event["Properties"] for event in events if event["Type"] in ("Kinesis", "SQS")]
        limits = [source.get("ScalingConfig", {}).get("MaximumConcurrency") for source in sources]
        if any(event["Type"] == "Kinesis" for event in events):
            needed += int(float(target.template.values.get("ShardCount", "1")))
        else:
            needed += next((int(limit) for limit in limits if limit), 1)
    return needed


def _check_code(settings: dict[str, Any]) -> Iterator[Finding]:
    limit = settings["AccountLimit"].get("TotalCodeSize")
    used = settings.get("AccountUsage", {}).get("TotalCodeSize", 0)
    if limit and used > 0.9 * limit:
        text = f"functions and layers of the account take {used / 1e9:.1f} of {limit / 1e9:.1f} GB in this region"
        yield warning("code", text, "delete old versions of functions and layers, or request more code storage")


def _check_roles(target: Target) -> Iterator[Finding]:
    there = target.stack.resources if target.stack else {}
    roles = [found.logical_id for found in target.resources if found.type == "AWS::IAM::Role"]
    needed = sum(role not in there for role in roles)
    try:
        summary = target.account.client("iam").get_account_summary()["SummaryMap"]
        free = summary["RolesQuota"] - summary["Roles"]
    except (BotoCoreError, ClientError, KeyError) as error:
        why = error_code(error) if isinstance(error, BotoCoreError | ClientError) else "the answer has no numbers"
        yield not_checked("roles", f"iam:GetAccountSummary: {why}")
        return
    if free < needed:
        text = f"the stack needs {needed} roles, and the account may have {free} more"
        advice = 'delete unused roles, or request more of "Roles per account" of IAM in Service Quotas'
        yield problem("roles", text, advice)
