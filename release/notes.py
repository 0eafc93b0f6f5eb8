"""The notes of a release: its section of CHANGELOG.md."""

import re

from release.places import ROOT


def write_notes(version: str) -> str:
    """The section of a version; that of what is unreleased, as long as the version has none."""
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = dict(re.findall(r"^## \[([^\]]+)\][^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    notes = sections.get(version, sections.get("Unreleased", "")).strip()
    if not notes:
        raise ValueError(f"CHANGELOG.md has no section '## [{version}]' and nothing under '## [Unreleased]'")
    return notes + "\n"
