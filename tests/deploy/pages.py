"""The documented commands: fenced code blocks of Markdown pages, by page and heading."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: The pages whose commands change a stack.
PAGES = ("README.md", "docs/deploy.md", "docs/recovery.md", "docs/readers.md", "docs/sources.md")
#: Lines that change a stack.
CHANGES_A_STACK = re.compile(
    r"^\s*(make deploy|sam |aws cloudformation (?!describe|list|wait)|git checkout)", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    page: str
    heading: str
    language: str
    text: str

    def __str__(self) -> str:
        first = self.text.strip().splitlines()[0]
        return f"{self.page}, '{self.heading}': {first}"


def read_blocks(page: str) -> list[Block]:
    """Returns the code blocks of a page, in order. Blocks of a list lose their indentation."""
    blocks: list[Block] = []
    heading, language, lines, indent = "", None, [], ""
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        fence = re.fullmatch(r"(\s*)```(.*)", line)
        if fence and language is None:
            indent, language, lines = fence[1], fence[2].strip(), []
        elif fence:
            blocks.append(Block(page, heading, language, "\n".join(lines) + "\n"))
            language = None
        elif language is not None:
            lines.append(line.removeprefix(indent))
        elif title := re.fullmatch(r"#+ (.*)", line):
            heading = title[1]
    return blocks


def find(page: str, heading: str, language: str = "sh") -> list[Block]:
    """Returns the blocks below a heading. It is an error if there are none: the page changed, and so must the test."""
    found = [block for block in read_blocks(page) if (block.heading, block.language) == (heading, language)]
    if not found:
        raise AssertionError(f"{page} has no ```{language} below '{heading}'")
    return found


def changing_blocks() -> set[Block]:
    """All blocks that change a stack."""
    blocks = {block for page in PAGES for block in read_blocks(page) if block.language in ("sh", "bash", "")}
    return {block for block in blocks if CHANGES_A_STACK.search(block.text)}
