"""``make doctor``: checks what a deployment needs, and says what to do. Changes nothing."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy.account import Account, describe_error, is_denied, open_account
from deploy.checks import access, names, permissions, quotas, shards, state, toolchain
from deploy.checks import settings as parameters
from deploy.finding import Finding, Level, not_checked
from deploy.settings import Settings, read_settings
from deploy.stack import Stack, Target, effective_parameters, find_stack, read_resources
from deploy.template import Template, read_template

Opener = Callable[[str | None, str | None], Account]


def diagnose(settings: Settings, region: str | None, open_: Opener = open_account) -> Iterator[Finding]:
    """Yields the findings of all checks that can be made. ``open_`` opens the account, for tests."""
    document = read_template()
    account = open_(region or settings.region, settings.profile)
    stack, caller, found = _look_up(account, settings.stack)
    template = Template(document, effective_parameters(settings.overrides, stack), settings.stack)
    # `sam build` takes the default for what is not given.
    yield from toolchain.check(settings.build_overrides.get("Architecture", template_default(template, "Architecture")))
    named = list(state.check_name(settings.stack))
    yield from named
    yield from parameters.check(settings, template, stack)
    resources = list(template.resources())
    if not named:
        yield from names.check_lengths(settings.stack, resources)
    yield from found
    if named or caller is None:
        text = "names, quotas and permissions, which need a stack_name, a region and credentials"
        yield not_checked("account", text, "fix the problems above, then run this again")
        return
    lambda_settings, reachable = access.check_lambda(account)
    yield reachable
    if reachable.level is Level.PROBLEM:
        return
    target = Target(
        account=account,
        template=template,
        name=settings.stack,
        stack=stack,
        resources=resources,
        account_id=caller.account_id,
        partition=caller.partition,
        caller=caller.arn,
        role=settings.role,
    )
    yield from names.check_holders(target)
    yield from quotas.check(target, lambda_settings)
    yield from shards.check(target)
    yield from permissions.check(target)


def template_default(template: Template, name: str) -> str:
    """The default of a parameter."""
    return str(template.declared[name]["Default"])


def _look_up(account: Account, name: str) -> tuple[Stack | None, access.Caller | None, list[Finding]]:
    """Finds out who calls, and whether there is a stack of that name."""
    found = list(access.check_region(account))
    if found:
        return None, None, found
    caller, said = access.identify(account)
    found.append(said)
    if caller is None or not name:
        return None, caller, found
    stack = None
    try:
        stack = find_stack(account, name)
        found += state.check(name, stack, str(account.region))
        if stack and stack.status != "REVIEW_IN_PROGRESS":
            resources = read_resources(account, name)
            stack = Stack(stack.name, stack.status, stack.parameters, stack.outputs, resources)
        found += state.check_sam_stack(find_stack(account, state.SAM_STACK), str(account.region))
    except (BotoCoreError, ClientError) as error:
        why = "CloudFormation's Describe actions are denied" if is_denied(error) else describe_error(error)
        found.append(not_checked("stack", why))
    return stack, caller, found


def report(findings: Iterable[Finding]) -> int:
    """Prints findings as they come, and a summary. Returns the exit code."""
    counts = dict.fromkeys(Level, 0)
    waiting = ""
    for finding in findings:
        counts[finding.level] += 1
        # Neighbours with the same advice have it once.
        if waiting and waiting != finding.advice:
            print(f"{'':8} -> {waiting}", flush=True)
        print(f"{finding.level:<8} {finding.topic}: {finding.text}", flush=True)
        waiting = finding.advice
    if waiting:
        print(f"{'':8} -> {waiting}", flush=True)
    problems, warnings = counts[Level.PROBLEM], counts[Level.WARNING]
    print(f"\n{counts[Level.OK]} ok, {warnings} to look at, {problems} to fix", flush=True)
    return 1 if problems else 0


def run(file: Path, environment: str, region: str | None) -> int:
    """Runs all checks. Returns 0, or 1 if there are problems."""
    return report(diagnose(read_settings(file, environment), region))
