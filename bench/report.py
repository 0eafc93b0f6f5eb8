"""Tables for people, JSON under bench/runs/ for whoever wants to count again."""

import datetime
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import machine, measure
from bench.places import ROOT, RUNS


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it reads as it is."""
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    # Words left, figures right.
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in [head, *rows]]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [lines[0], rule, *lines[1:]])


def comparison(ours: str, results: dict[str, list[measure.Run]]) -> str:
    """One row a contender: medians, and what part of it ours needs."""
    rows = []
    for name, runs in results.items():
        part = (
            ["", ""] if name == ours else [f"{measure.ratio(results[ours], runs, f):.2f}" for f in ("wall_s", "cpu_s")]
        )
        middle = [measure.median(runs, figure) for figure in ("wall_s", "cpu_s", "rss_mb", "others_cpu_s")]
        rows.append([name, f"{middle[0]:.2f}", f"{middle[1]:.2f}", f"{middle[2]:.0f}", *part, f"{middle[3]:.1f}"])
    head = ["", "seconds", "CPU s", "RSS MB", f"{ours} / it, time", "CPU", "others' CPU s"]
    return table(head, rows)


def in_line(values: Iterable[float], digits: int = 2) -> str:
    """Many raw figures as one text: a line of JSON where there would be thousands."""
    return " ".join(f"{value:.{digits}f}" for value in values)


def keep(section: str, settings: dict[str, object], figures: object) -> Path:
    """Keeps a section's raw figures in the machine's folder."""
    about = machine.describe()
    now = datetime.datetime.now(datetime.UTC)
    path = RUNS / machine.slug(about) / f"{now:%Y%m%dT%H%M%SZ}-{section}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"section": section, "at": f"{now:%Y-%m-%dT%H:%M:%SZ}", "machine": about, "settings": settings}
    path.write_text(json.dumps(record | {"figures": figures}, indent=1) + "\n")
    print(f"  kept in {path.relative_to(ROOT)}\n")
    return path
