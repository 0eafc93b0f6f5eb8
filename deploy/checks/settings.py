"""The section of samconfig.toml: parameters, rules, architecture, names."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.finding import Finding, ok, problem, warning
from deploy.settings import Settings
from deploy.stack import Stack
from deploy.template import Template


def check(settings: Settings, template: Template, stack: Stack | None) -> Iterator[Finding]:
    """Checks the parameters. ``template`` has those after the deployment."""
    where = f"[{settings.environment}] in {settings.file.name}"
    found = list(_check_parameters(settings, template, where))
    found += [problem("parameters", text, f"change parameter_overrides of {where}") for text in template.broken_rules()]
    found += _check_architecture(settings, template, stack, where)
    if not found:
        given = ", ".join(sorted(settings.overrides)) or "none; all have their defaults, or keep their values"
        found.append(ok("parameters", f"set by {where}: {given}"))
    yield from found


def _check_parameters(settings: Settings, template: Template, where: str) -> Iterator[Finding]:
    for name, value in settings.overrides.items():
        declared = template.declared.get(name)
        if declared is None:
            advice = f"correct the name in parameter_overrides of {where}; `sam deploy` ignores names it does not know"
            yield problem("parameters", f"template.yaml has no parameter {name}", advice)
        elif fault := _find_fault(declared, value):
            yield problem("parameters", f"{name}={value}: {fault}", f"change it in parameter_overrides of {where}")


def _find_fault(declared: dict[str, Any], value: str) -> str | None:
    """Why CloudFormation would refuse a value."""
    allowed = declared.get("AllowedValues")
    if allowed is not None and value not in map(str, allowed):
        return f"must be one of {', '.join(map(str, allowed))}"
    pattern = declared.get("AllowedPattern")
    if pattern is not None and not re.fullmatch(pattern, value):
        return f"must match {pattern}"
    if declared["Type"] != "Number":
        least, most = int(declared.get("MinLength", 0)), int(declared.get("MaxLength", 4096))
        return None if least <= len(value) <= most else f"has {len(value)} characters; it must have {least} to {most}"
    try:
        number = float(value)
    except ValueError:
        return "must be a number"
    lowest, highest = declared.get("MinValue"), declared.get("MaxValue")
    if lowest is not None and number < float(lowest):
        return f"must be at least {lowest}"
    if highest is not None and number > float(highest):
        return f"must be at most {highest}"
    return None


def _check_architecture(settings: Settings, template: Template, stack: Stack | None, where: str) -> Iterator[Finding]:
    declared = template.declared.get("Architecture")
    if declared is None:
        return
    built = settings.build_overrides.get("Architecture", str(declared.get("Default")))
    deployed = template.values["Architecture"]
    if built == deployed:
        yield from _check_change(deployed, stack)
        return
    kept = "the stack keeps it" if "Architecture" not in settings.overrides else f"of {where}"
    yield problem(
        "architecture",
        f"`sam build` would build for {built}, and `sam deploy` would run that on {deployed} ({kept})",
        f"set Architecture in [{settings.environment}.global.parameters], which both commands read",
    )


def _check_change(deployed: str, stack: Stack | None) -> Iterator[Finding]:
    before = (stack.parameters if stack else {}).get("Architecture", deployed)
    if before != deployed:
        text = f"the functions change from {before} to {deployed}"
        yield warning("architecture", text, "nothing, if that is intended")
