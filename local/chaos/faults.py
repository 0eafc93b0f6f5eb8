"""Draws and counts faults. A seed determines what each part draws, but not the order in which processes run."""

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

# Probability per request, message or batch. A run multiplies each by a factor from 0.5 to 1.5.
RATES = {
    # the proxy: any request
    "slow": 0.02,
    "refused": 0.02,
    "connection reset": 0.01,
    "answer lost": 0.01,
    "answer is an error": 0.01,
    "killed before": 0.004,
    "killed after": 0.004,
    # the proxy: puts
    "lands late": 0.01,
    # the proxy: gets
    "answer cut off": 0.005,
    # the proxy: PutRecords
    "records throttled": 0.05,
    "records stored, said to have failed": 0.03,
    # S3's events
    "lost": 0.15,
    "late": 0.10,
    "twice": 0.10,
    # the cleaner's event source
    "batch twice at once": 0.08,
    "function's answer lost": 0.05,
}


class Faults:
    """Draws faults while they are on, and counts those that were injected, by part, fault and place."""

    def __init__(self, seed: int, log: Path) -> None:
        self.seed = seed
        self.struck: Counter[tuple[str, str, str]] = Counter()
        self._on = threading.Event()
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._log = log.open("w")
        chance = self.chance("rates")
        self.rates = {fault: rate * chance.uniform(0.5, 1.5) for fault, rate in RATES.items()}

    def chance(self, of: str) -> random.Random:
        """The random generator of one part."""
        return random.Random(f"{self.seed}/{of}")

    def begin(self) -> None:
        """Starts the faults."""
        self._on.set()

    def end(self) -> None:
        """Stops the faults."""
        self._on.clear()

    @property
    def on(self) -> bool:
        """Whether faults are on."""
        return self._on.is_set()

    def draw(self, chance: random.Random, faults: list[str], weight: float = 1) -> str | None:
        """Draws one of ``faults``, each with ``weight`` times its rate, or None."""
        if not self.on:
            return None
        at = chance.random()
        for fault in faults:
            at -= self.rates[fault] * weight
            if at < 0:
                return fault
        return None

    def strike(self, part: str, fault: str, place: str, detail: str = "") -> None:
        """Counts and logs an injected fault."""
        with self._lock:
            self.struck[part, fault, place] += 1
            after = round(time.monotonic() - self._begun, 3)
            entry = {"after_s": after, "part": part, "fault": fault, "place": place, "detail": detail}
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()

    def count(self, *faults: str) -> int:
        """How often these faults were injected."""
        with self._lock:
            return sum(n for (_, fault, _), n in self.struck.items() if fault in faults)
