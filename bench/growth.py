"""Section growth: how the cost of analyses, storage and inserts grows with the tables.

The program runs the analyses with half the memory of a function of 3,008 MB, as the function does, and of 10,240 MB,
the largest function. The cost of inserts is read from the newest run of the section insert on this machine.
"""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from bench import inputs, machine, measure, plot, report
from bench.cold_start import MEMORY
from bench.load import empty_folder
from bench.measure import Contender
from bench.places import ROOT, RUNS, WORK, binary

# MemorySize of the function in template.yaml, and Lambda's maximum (Lambda Developer Guide, "Quotas").
FUNCTION_MB = (MEMORY["analysis"], 10_240)
# The queries get 1/QUERY_SHARE of the memory, as in functions/analysis/src/main.rs.
QUERY_SHARE = 2


def read_prices() -> dict[str, Any]:
    """The prices of `pinlake cost`."""
    return tomllib.loads((ROOT / "cli" / "src" / "cost" / "prices.toml").read_text())


def build_lake(posts: int) -> Path:
    """A lake of `posts` posts. The lake is kept for the next run; its input is deleted."""
    folder = WORK / f"growth-{posts}"
    if not (folder / "tables").exists():
        # A separate input, because other sections reuse theirs.
        source = inputs.generate(posts, name="growth-rows")
        measure.run_once(Contender("load", [binary("pinlake"), "load", "--lake", empty_folder(folder), source]))
        shutil.rmtree(source)
        source.with_suffix(".json").unlink()
    return folder


def stored_bytes(folder: Path) -> int:
    """Bytes of the tables, their logs and their keys."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measure_analyses(folder: Path, function_mb: int, runs: int) -> dict[str, Any]:
    """Medians of the analyses with the memory of a function of `function_mb`, or the error if they fail."""
    command = [binary("pinlake"), "analyse", "--lake", folder, "--format", "json", "--memory",
               function_mb // QUERY_SHARE]  # fmt: skip
    first_run = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if first_run.returncode != 0:
        return {"function_mb": function_mb, "failed": first_run.stderr.strip()[-600:]}
    measured = [measure.run_once(Contender("analyse", command)) for _ in range(runs)]
    medians = {name: measure.median(measured, name) for name in ("wall_s", "cpu_s", "rss_mb", "others_cpu_s")}
    return {"function_mb": function_mb, **medians}


def read_insert_figures() -> list[dict[str, Any]]:
    """The figures of the newest run of the section insert on this machine; empty if there is none."""
    records = sorted((RUNS / machine.slug(machine.describe())).glob("*-insert.json"))
    return json.loads(records[-1].read_text())["figures"] if records else []


def run(sizes: list[int], runs: int) -> None:
    """Measures all sizes, prints the table and draws docs/growth-cost.svg."""
    print("## growth: the ten analyses over lakes of growing size, by the memory of the function\n")
    figures, rows = [], []
    for posts in sizes:
        folder = build_lake(posts)
        figure: dict[str, Any] = {"posts": posts, "stored_bytes": stored_bytes(folder),
              "analyses": [measure_analyses(folder, function_mb, runs) for function_mb in FUNCTION_MB]}  # fmt: skip
        figures.append(figure)
        for analysis in figure["analyses"]:
            cells = [analysis.get("failed", "")[-60:]] * 3 if "failed" in analysis else [
                f"{analysis['wall_s']:.2f}", f"{analysis['cpu_s']:.2f}", f"{analysis['rss_mb']:.0f}"]  # fmt: skip
            rows.append([f"{posts:,}", f"{figure['stored_bytes'] / 1e9:.2f}", f"{analysis['function_mb']:,}", *cells])
    print(report.format_table(["posts", "GB stored", "function, MB", "seconds", "CPU s", "RSS MB"], rows))
    report.save("growth", {"posts": sizes, "runs": runs}, figures)
    price = read_prices()
    gb_second, gb_month = price["lambda"]["per_gb_second"], price["s3"]["per_gb_month"]
    lines = {
        "a run of the analyses, by three tables": [
            (3 * figure["posts"], analysis["wall_s"] * analysis["function_mb"] / 1024 * gb_second)
            for figure in figures
            for analysis in figure["analyses"][:1]
            if "failed" not in analysis
        ],
        "a month of storing them": [
            (3 * figure["posts"], figure["stored_bytes"] / 1e9 * gb_month) for figure in figures
        ],
        "inserting a million rows, by one table": [
            (figure["rows"], figure["warm_s"] * 10 * MEMORY["compactor"] / 1024 * gb_second)
            for figure in read_insert_figures()
        ],
    }
    drawing = ROOT / "docs" / "growth-cost.svg"
    lines = {name: line for name, line in lines.items() if line}
    drawing.write_text(plot.svg("US dollars, us-east-1", "rows in the tables", lines))
    print(f"  drawn in {drawing.relative_to(ROOT)}\n")
