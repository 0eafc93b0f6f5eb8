"""What template.yaml promises beyond being valid, which cfn-lint does not look at; `make check` runs it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"


def main() -> int:
    """Prints every broken promise; 0 if there is none."""
    resources = yaml_parse(TEMPLATE.read_text())["Resources"]
    broken = [*wide_permissions(resources), *shared_roles(resources), *unwatched(resources), *impatient(resources)]
    for promise in broken:
        print(f"template.yaml: {promise}", file=sys.stderr)
    return 1 if broken else 0


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    """The properties of the resources of one type, by name."""
    return {name: found["Properties"] for name, found in resources.items() if found["Type"] == kind}


def as_list(one_or_many: Any) -> list[Any]:
    """A policy's element may be one thing or a list of them."""
    return one_or_many if isinstance(one_or_many, list) else [one_or_many]


def wide_permissions(resources: dict[str, Any]) -> Iterator[str]:
    """A role may do named things, to named resources or to what is below a prefix."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        if role.get("ManagedPolicyArns"):
            yield f"{name}: a managed policy grants on every resource; write its statements out"
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in as_list(statement["Action"]):
                    if "*" in action:
                        yield f"{name}/{statement['Sid']}: name the actions, not {action}"
                for resource in as_list(statement["Resource"]):
                    if isinstance(resource, str):
                        yield f"{name}/{statement['Sid']}: name a resource of this template, not {resource}"
                    written = resource.get("Fn::Sub", "") if isinstance(resource, dict) else ""
                    if "*" in written.removesuffix("/*") or written == "${Lake.Arn}/*":
                        yield f"{name}/{statement['Sid']}: give a prefix of the lake, not {written}"


def shared_roles(resources: dict[str, Any]) -> Iterator[str]:
    """Each function has a role and a log group that no other has."""
    for part in ("Role", "LoggingConfig"):
        owners: dict[str, str] = {}
        for name, function in of_type(resources, "AWS::Serverless::Function").items():
            if part not in function:
                yield f"{name} has no {part}"
            elif (other := owners.setdefault(str(function[part]), name)) != name:
                yield f"{name} and {other} share one {part}"


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


def impatient(resources: dict[str, Any]) -> Iterator[str]:
    """A message stays hidden for at least six runs of the function that has it: or it would run twice at once."""
    queues = of_type(resources, "AWS::SQS::Queue")
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        for event in function.get("Events", {}).values():
            if event["Type"] != "SQS":
                continue
            queue = event["Properties"]["Queue"]["Fn::GetAtt"][0]
            least = 6 * function["Timeout"]
            if queues[queue]["VisibilityTimeout"] < least:
                yield f"{queue}: VisibilityTimeout below {least}, six times the Timeout of {name}"


if __name__ == "__main__":
    sys.exit(main())
