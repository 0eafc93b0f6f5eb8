"""What a check found: one line in plain words, and what to do next."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is. Only a problem makes the exit code 1."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: Level
    topic: str
    text: str
    #: What to do next; empty if there is nothing to do.
    advice: str = ""


def ok(topic: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(Level.OK, topic, text)


def warning(topic: str, text: str, advice: str) -> Finding:
    """A deployment may work, but look at this first."""
    return Finding(Level.WARNING, topic, text, advice)


def problem(topic: str, text: str, advice: str) -> Finding:
    """A deployment would fail, or would do harm."""
    return Finding(Level.PROBLEM, topic, text, advice)


def not_checked(topic: str, why: str, advice: str = "check it manually, or use other credentials") -> Finding:
    """A check that could not be made."""
    return Finding(Level.WARNING, topic, f"not checked: {why}", advice)
