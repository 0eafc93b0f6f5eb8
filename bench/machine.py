"""What machine this is, and how busy others keep it: a figure means nothing without."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, object]:
    """The machine, for the head of a run's record."""
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
    """A folder's name for the machine."""
    words = re.sub(r"\((R|TM)\)|CPU|Processor|@.*", " ", str(machine["processor"]))
    return "-".join([*re.findall(r"[a-z0-9.]+", words.lower()), f"{machine['cpus']}cpu", f"{machine['memory_gib']}g"])


def busy_seconds() -> float:
    """CPU seconds that the whole machine has been busy since it started, for what others took meanwhile."""
    user, nice, system, _, _, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / _TICKS


def others_share(seconds: float = 3) -> float:
    """How much of a processor others take at the moment: nothing of ours may run meanwhile."""
    begun = busy_seconds()
    time.sleep(seconds)
    return round((busy_seconds() - begun) / seconds, 3)
