"""Describes the machine and how busy it is."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, object]:
    """Processor, memory, kernel and commit, for the record of a run."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cpus": os.cpu_count(),
        "memory_gib": round(int(memory.group(1)) / 2**20) if memory else None,
        "kernel": platform.release(),
        "commit": commit,
    }


def slug(machine: dict[str, object]) -> str:
    """A folder name for the machine, such as amd-epyc-2cpu-24g."""
    words = re.sub(r"\((R|TM)\)|CPU|Processor|@.*", " ", str(machine["processor"]))
    return "-".join([*re.findall(r"[a-z0-9.]+", words.lower()), f"{machine['cpus']}cpu", f"{machine['memory_gib']}g"])


def busy_seconds() -> float:
    """CPU seconds of all processes since the machine started."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def busy_share(seconds: float = 3) -> float:
    """Processors in use, measured over some seconds. Call it while nothing of the benchmark runs."""
    before = busy_seconds()
    time.sleep(seconds)
    return round((busy_seconds() - before) / seconds, 3)
