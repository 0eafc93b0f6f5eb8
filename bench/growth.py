"""How the costs grow with the tables: inserting, a run of the analyses, storing; and when these outgrow a function.

The analyses run by the program with half the memory of a function of 3,008 MB, as the function has it, and of
10,240 MB, the largest that there is. What inserting takes is of the section `insert`, whose newest run on this machine
is read.
"""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from bench import inputs, machine, measure, plot, report
from bench.cold_start import MEMORY
from bench.load import fresh
from bench.measure import Contender
from bench.places import ROOT, RUNS, WORK, binary

# MemorySize of the function in template.yaml, and the most that Lambda has (Lambda Developer Guide, "Quotas").
FUNCTION_MB = (MEMORY["analysis"], 10_240)
# What functions/analysis/src/main.rs gives the queries.
QUERY_SHARE = 2


def prices() -> dict[str, Any]:
    """What `pinlake cost` reckons with."""
    return tomllib.loads((ROOT / "cli" / "src" / "cost" / "prices.toml").read_text())


def lake(posts: int) -> Path:
    """A lake of so many posts. It is kept, and what it was made of is not."""
    made = WORK / f"growth-{posts}"
    if not (made / "tables").exists():
        # Of its own: other sections read theirs again.
        source = inputs.generated(posts, name="growth-rows")
        measure.once(Contender("load", [binary("pinlake"), "load", "--lake", fresh(made), source]))
        shutil.rmtree(source)
        source.with_suffix(".json").unlink()
    return made


def stored_bytes(made: Path) -> int:
    """Bytes of the tables, their logs and their keys."""
    return sum(file.stat().st_size for file in made.rglob("*") if file.is_file())


def analysed(made: Path, function_mb: int, runs: int) -> dict[str, Any]:
    """Medians of a run of the analyses with so large a function's memory; why it failed, where it did."""
    command = [binary("pinlake"), "analyse", "--lake", made, "--format", "json", "--memory",
               function_mb // QUERY_SHARE]  # fmt: skip
    tried = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if tried.returncode != 0:
        return {"function_mb": function_mb, "failed": tried.stderr.strip()[-600:]}
    measured = [measure.once(Contender("analyse", command)) for _ in range(runs)]
    of = {figure: measure.median(measured, figure) for figure in ("wall_s", "cpu_s", "rss_mb", "others_cpu_s")}
    return {"function_mb": function_mb, **of}


def inserted() -> list[dict[str, Any]]:
    """The figures of the newest run of `insert` on this machine."""
    kept = sorted((RUNS / machine.slug(machine.describe())).glob("*-insert.json"))
    return json.loads(kept[-1].read_text())["figures"] if kept else []


def run(sizes: list[int], runs: int) -> None:
    """Prints the table and draws how costs grow."""
    print("## growth: the ten analyses over lakes of growing size, by the memory of the function\n")
    figures, rows = [], []
    for posts in sizes:
        made = lake(posts)
        of = {"posts": posts, "stored_bytes": stored_bytes(made),
              "analyses": [analysed(made, function_mb, runs) for function_mb in FUNCTION_MB]}  # fmt: skip
        figures.append(of)
        for one in of["analyses"]:
            told = [one.get("failed", "")[-60:]] * 3 if "failed" in one else [
                f"{one['wall_s']:.2f}", f"{one['cpu_s']:.2f}", f"{one['rss_mb']:.0f}"]  # fmt: skip
            rows.append([f"{posts:,}", f"{of['stored_bytes'] / 1e9:.2f}", f"{one['function_mb']:,}", *told])
    print(report.table(["posts", "GB stored", "function, MB", "seconds", "CPU s", "RSS MB"], rows))
    report.keep("growth", {"posts": sizes, "runs": runs}, figures)
    price = prices()
    gb_second, gb_month = price["lambda"]["per_gb_second"], price["s3"]["per_gb_month"]
    lines = {
        "a run of the analyses, by three tables": [
            (3 * of["posts"], one["wall_s"] * one["function_mb"] / 1024 * gb_second)
            for of in figures
            for one in of["analyses"][:1]
            if "failed" not in one
        ],
        "a month of storing them": [(3 * of["posts"], of["stored_bytes"] / 1e9 * gb_month) for of in figures],
        "inserting a million rows, by one table": [
            (of["rows"], of["warm_s"] * 10 * MEMORY["compactor"] / 1024 * gb_second) for of in inserted()
        ],
    }
    drawing = ROOT / "docs" / "growth-cost.svg"
    lines = {name: line for name, line in lines.items() if line}
    drawing.write_text(plot.svg("US dollars, us-east-1", "rows in the tables", lines))
    print(f"  drawn in {drawing.relative_to(ROOT)}\n")
