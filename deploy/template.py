"""template.yaml with its parameters set: which resources a stack has, and under which names.

Evaluates the intrinsic functions that the template uses in names, numbers and conditions. SAM's own resolver leaves out
conditions, and compares a number with a parameter's text.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse

from local.places import ROOT

TEMPLATE = ROOT / "template.yaml"

_NO_VALUE = object()


@dataclass(frozen=True)
class Resource:
    """A resource of the template."""

    logical_id: str
    type: str
    #: With functions evaluated as far as they depend on parameters only.
    properties: dict[str, Any]

    def find(self, path: str) -> Any:
        """A property by its path with dots; None if it is not set or depends on another resource."""
        found: Any = self.properties
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return None if isinstance(found, dict | list) or "${" in str(found) else found


class Template:
    """The template for one stack."""

    def __init__(self, document: dict[str, Any], values: Mapping[str, str], stack: str) -> None:
        """``values``: parameters that differ from their defaults. Those that the template does not have are ignored."""
        self._document = document
        self.declared: dict[str, dict[str, Any]] = document["Parameters"]
        #: The value of each parameter.
        self.values = {name: str(values.get(name, found.get("Default", ""))) for name, found in self.declared.items()}
        self._known = self.values | {"AWS::StackName": stack}

    def resources(self) -> Iterator[Resource]:
        """The resources whose condition is true."""
        for logical_id, found in self._document["Resources"].items():
            if "Condition" not in found or self._condition(found["Condition"]):
                yield Resource(logical_id, found["Type"], self._evaluate(found.get("Properties", {})))

    def broken_rules(self) -> Iterator[str]:
        """What the assertions of Rules say that are not true."""
        for rule in self._document.get("Rules", {}).values():
            if self._evaluate(rule.get("RuleCondition", True)) is True:
                for assertion in rule["Assertions"]:
                    if self._evaluate(assertion["Assert"]) is False:
                        yield assertion["AssertDescription"]

    def _condition(self, name: str) -> bool:
        return self._evaluate(self._document["Conditions"][name]) is True

    def _evaluate(self, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in map(self._evaluate, value) if item is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            # A policy statement may have nothing but a Condition, which is no function.
            if name in _FUNCTIONS and (name != "Condition" or isinstance(argument, str)):
                return self._call(name, argument)
        evaluated = {key: self._evaluate(item) for key, item in value.items()}
        return {key: item for key, item in evaluated.items() if item is not _NO_VALUE}

    def _call(self, name: str, argument: Any) -> Any:
        match name:
            case "Ref":
                return _NO_VALUE if argument == "AWS::NoValue" else self._known.get(argument, f"${{{argument}}}")
            case "Condition":
                return self._condition(argument)
            case "Fn::If":
                chosen, then, otherwise = argument
                return self._evaluate(then if self._condition(chosen) else otherwise)
            case "Fn::Sub":
                return self._substitute(argument)
        evaluated = self._evaluate(argument)
        match name:
            case "Fn::Equals":
                # CloudFormation compares texts.
                return str(evaluated[0]) == str(evaluated[1])
            case "Fn::Not":
                return not evaluated[0]
            case "Fn::And":
                return all(evaluated)
            case "Fn::Or":
                return any(evaluated)
            case "Fn::Select":
                at, items = int(evaluated[0]), evaluated[1]
                return items[at] if at < len(items) else "${nothing}"
            case "Fn::Split":
                return str(evaluated[1]).split(evaluated[0])
            case _:
                return str(evaluated[0]).join(map(str, evaluated[1]))

    def _substitute(self, argument: Any) -> str:
        text, own = (argument, {}) if isinstance(argument, str) else (argument[0], self._evaluate(argument[1]))
        known = self._known | own
        return re.sub(r"\$\{([^}!]+)\}", lambda found: str(known.get(found[1], found[0])), text)


_FUNCTIONS = frozenset(
    [
        "Ref",
        "Condition",
        "Fn::If",
        "Fn::Sub",
        "Fn::Equals",
        "Fn::Not",
        "Fn::And",
        "Fn::Or",
        "Fn::Select",
        "Fn::Split",
        "Fn::Join",
    ]
)


def read_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """Parses the template, with YAML's short forms of functions."""
    return yaml_parse(path.read_text())
