"""The name and the state of the stack, and of the stack that holds SAM's bucket."""

import re
from collections.abc import Iterator

from deploy.finding import Finding, ok, problem
from deploy.stack import Stack

#: The stack that `sam deploy` with resolve_s3 keeps in each region: its bucket holds the functions' code.
SAM_STACK = "aws-sam-cli-managed-default"

#: CloudFormation User Guide, "Understand CloudFormation stack creation events" and "Stack status codes".
_DELETE = frozenset(["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])


def check_name(name: str) -> Iterator[Finding]:
    """Checks the form of a stack's name (CloudFormation API Reference, CreateStack)."""
    if not name:
        advice = 'set stack_name = "..." in [<section>.deploy.parameters]'
        yield problem("stack", "the section has no stack_name", advice)
    elif not re.fullmatch("[a-zA-Z][-a-zA-Z0-9]{0,127}", name):
        text = f"{name!r} is not a stack name: a letter, then at most 127 letters, digits and hyphens"
        yield problem("stack", text, "change stack_name")


def check(name: str, stack: Stack | None, region: str) -> Iterator[Finding]:
    """Checks whether a stack can be created or updated now."""
    if stack is None:
        yield ok("stack", f"{name} does not exist in {region}; a deployment creates it")
        return
    command = f"aws cloudformation {{}} --region {region} --stack-name {name}"
    status = stack.status
    if status == "REVIEW_IN_PROGRESS":
        yield ok("stack", f"{name} is a change set that was not executed; a deployment creates the stack")
    elif status.endswith("_IN_PROGRESS"):
        advice = f"wait until it is done; watch it: `{command.format('describe-stack-events')}`"
        yield problem("stack", f"{name} is being changed ({status})", advice)
    elif status in _DELETE:
        text = f"{name} cannot be updated ({status})"
        advice = f"read why (`{command.format('describe-stack-events')}`), then `{command.format('delete-stack')}`"
        yield problem("stack", text, advice)
    elif status == "UPDATE_ROLLBACK_FAILED":
        advice = f"remove the cause, then `{command.format('continue-update-rollback')}`"
        yield problem("stack", f"{name} could not go back after a failed update ({status})", advice)
    elif status == "UPDATE_FAILED":
        advice = f"go back first: `{command.format('rollback-stack')}`"
        yield problem("stack", f"{name} is half updated ({status})", advice)
    elif status.endswith("_FAILED"):
        advice = f"read why: `{command.format('describe-stack-events')}`"
        yield problem("stack", f"{name} cannot be updated ({status})", advice)
    else:
        yield ok("stack", f"{name} exists ({status}); a deployment updates it")


def check_sam_stack(stack: Stack | None, region: str) -> Iterator[Finding]:
    """Checks the stack that holds SAM's bucket. Yields nothing if it can be used, or created."""
    if stack is None or stack.status in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"):
        return
    text = f"{SAM_STACK}, whose bucket holds the functions' code, cannot be used ({stack.status})"
    command = f"aws cloudformation delete-stack --region {region} --stack-name {SAM_STACK}"
    yield problem("sam bucket", text, f"wait if it is in progress; otherwise `{command}`")
