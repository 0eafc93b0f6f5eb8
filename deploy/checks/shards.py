"""Shards of the Kinesis stream: the account's quota, and what one update may change."""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import describe_error, error_code
from deploy.finding import Finding, not_checked, ok, problem, warning
from deploy.stack import Target


def check(target: Target) -> Iterator[Finding]:
    """Checks ShardCount and StreamMode against the stream, if there is one, and the account's quota."""
    stream = next((resource for resource in target.resources if resource.type == "AWS::Kinesis::Stream"), None)
    if stream is None:
        return
    name = str(stream.find("Name"))
    wanted = int(float(target.template.values.get("ShardCount", "1")))
    is_provisioned = target.template.values.get("StreamMode", "PROVISIONED") == "PROVISIONED"
    # A stream of somebody else is a finding about names.
    is_own = target.stack is not None and stream.logical_id in target.stack.resources
    try:
        current = _describe(target, name) if is_own else None
        yield from _check_status(name, current)
        if is_provisioned:
            yield from _check_change(name, wanted, current)
        yield from _check_quota(target, wanted if is_provisioned else None, current)
    except (BotoCoreError, ClientError) as error:
        yield not_checked("shards", describe_error(error))


def _describe(target: Target, name: str) -> dict[str, Any] | None:
    try:
        return target.account.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise


def _check_status(name: str, current: dict[str, Any] | None) -> Iterator[Finding]:
    if current and current["StreamStatus"] != "ACTIVE":
        yield problem("shards", f"the stream {name} is {current['StreamStatus']}", "wait until it is ACTIVE")


def _check_change(name: str, wanted: int, current: dict[str, Any] | None) -> Iterator[Finding]:
    """UpdateShardCount at most doubles, and at least halves, the number of open shards (Kinesis Data Streams API
    Reference)."""
    if current is None:
        return
    shards = current["OpenShardCount"]
    least, most = -(-shards // 2), 2 * shards
    if least <= wanted <= most:
        if wanted != shards:
            yield ok("shards", f"the stream {name} changes from {shards} to {wanted} shards")
        return
    text = f"the stream {name} has {shards} open shards, and one update can set {least} to {most}, but not {wanted}"
    step = most if wanted > most else least
    yield problem("shards", text, f"go in steps: deploy ShardCount={step} first (at most ten updates in 24 hours)")


def _check_quota(target: Target, wanted: int | None, current: dict[str, Any] | None) -> Iterator[Finding]:
    limits = target.account.client("kinesis").describe_limits()
    increase = "request more of {} of Kinesis Data Streams in Service Quotas"
    if wanted is None:
        limit, used = limits.get("OnDemandStreamCountLimit"), limits.get("OnDemandStreamCount", 0)
        is_new = (current or {}).get("StreamModeDetails", {}).get("StreamMode") != "ON_DEMAND"
        if limit is not None and is_new and used >= limit:
            advice = increase.format('"On-demand data streams"')
            yield problem("shards", f"the account has {used} of {limit} on-demand streams", advice)
        return
    more_shards = increase.format('"Shards per Region"')
    is_counted = (current or {}).get("StreamModeDetails", {}).get("StreamMode", "PROVISIONED") == "PROVISIONED"
    own = current["OpenShardCount"] if current and is_counted else 0
    limit, used = limits["ShardLimit"], limits["OpenShardCount"]
    # An update opens the new shards before it closes the old ones, which therefore count too.
    after = used - own + wanted
    if after > limit:
        text = f"{wanted} shards would make {after} in the account, whose quota is {limit}"
        yield problem("shards", text, f"set a smaller ShardCount, or {more_shards}")
    elif current and wanted != own and used + wanted > limit:
        text = f"while the stream is resharded, its old and new shards may exceed the account's quota of {limit}"
        yield warning("shards", text, more_shards)
    else:
        yield ok("shards", f"{after} of {limit} shards of the account")
