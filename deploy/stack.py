"""A deployed stack: its state, parameters, resources and outputs."""

from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from deploy.account import Account, error_code
from deploy.template import Resource, Template


@dataclass(frozen=True)
class Existing:
    """A resource of a stack. Resources of different types may have the same physical id."""

    type: str
    physical_id: str


@dataclass(frozen=True)
class Stack:
    """What CloudFormation says of a stack."""

    name: str
    status: str
    parameters: dict[str, str]
    outputs: dict[str, str]
    #: By logical id; empty if they were not read.
    resources: dict[str, Existing] = field(default_factory=dict)


@dataclass(frozen=True)
class Target:
    """What is about to be deployed, and where. The checks of an account get it."""

    account: Account
    template: Template
    #: Name of the stack.
    name: str
    #: The existing stack; None if there is none.
    stack: Stack | None
    #: The resources that the stack will have.
    resources: list[Resource]
    #: Account id, partition and ARN of the caller.
    account_id: str
    partition: str
    caller: str
    #: The role that CloudFormation uses instead of the caller's permissions.
    role: str | None = None


def find_stack(account: Account, name: str) -> Stack | None:
    """Describes a stack; None if it does not exist. Raises ClientError or BotoCoreError."""
    try:
        found = account.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        # "Stack with id ... does not exist"
        if error_code(error) == "ValidationError" and "does not exist" in str(error):
            return None
        raise
    return Stack(
        name=name,
        status=found["StackStatus"],
        parameters={item["ParameterKey"]: item.get("ParameterValue", "") for item in found.get("Parameters", [])},
        outputs={item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])},
    )


def read_resources(account: Account, name: str) -> dict[str, Existing]:
    """The resources of a stack by logical id."""
    pages = account.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=name)
    listed: list[dict[str, Any]] = [item for page in pages for item in page["StackResourceSummaries"]]
    gone = "DELETE_COMPLETE"
    return {
        item["LogicalResourceId"]: Existing(item["ResourceType"], item.get("PhysicalResourceId", ""))
        for item in listed
        if item["ResourceStatus"] != gone
    }


def effective_parameters(overrides: dict[str, str], stack: Stack | None) -> dict[str, str]:
    """The parameters after a deployment: those given, and those that the stack has and keeps."""
    # A stack in REVIEW_IN_PROGRESS has never been created.
    kept = stack.parameters if stack and stack.status != "REVIEW_IN_PROGRESS" else {}
    return kept | overrides
