"""Prints results as Markdown tables and saves the raw figures as JSON in bench/runs/."""

import datetime
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import machine, measure
from bench.places import ROOT, RUNS


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    # The first column is text, the others are figures.
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in [head, *rows]]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def format_comparison(ours: str, results: dict[str, list[measure.Run]]) -> str:
    """A table with one row for each contender: medians, and the ratio of ours to it."""
    rows = []
    for name, runs in results.items():
        part = (
            ["", ""] if name == ours else [f"{measure.ratio(results[ours], runs, f):.2f}" for f in ("wall_s", "cpu_s")]
        )
        middle = [measure.median(runs, figure) for figure in ("wall_s", "cpu_s", "rss_mb", "others_cpu_s")]
        rows.append([name, f"{middle[0]:.2f}", f"{middle[1]:.2f}", f"{middle[2]:.0f}", *part, f"{middle[3]:.1f}"])
    head = ["", "seconds", "CPU s", "RSS MB", f"{ours} / peer, time", "CPU", "others' CPU s"]
    return format_table(head, rows)


def join_figures(values: Iterable[float], digits: int = 2) -> str:
    """Raw figures as one string, so that they take one line of JSON instead of thousands."""
    return " ".join(f"{value:.{digits}f}" for value in values)


def save(section: str, settings: dict[str, object], figures: object) -> Path:
    """Writes the raw figures of a section to the machine's folder in bench/runs/."""
    about = machine.describe()
    now = datetime.datetime.now(datetime.UTC)
    path = RUNS / machine.slug(about) / f"{now:%Y%m%dT%H%M%SZ}-{section}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"section": section, "at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "machine": about, "settings": settings}
    path.write_text(json.dumps(record | {"figures": figures}, indent=1) + "\n")
    print(f"  saved in {path.relative_to(ROOT)}\n")
    return path
