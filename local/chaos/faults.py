"""Chance, and what struck. A seed fixes what every part draws; it cannot fix in which order processes run."""

import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

# How often, per request, message or batch; a run multiplies each by between a half and one and a half.
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
    """Draws faults while they are on, and counts those that struck, by part, fault and place."""

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
        """The dice of one part."""
        return random.Random(f"{self.seed}/{of}")

    def begin(self) -> None:
        """From here on things fail."""
        self._on.set()

    def end(self) -> None:
        """From here on nothing does."""
        self._on.clear()

    @property
    def on(self) -> bool:
        """Whether things fail."""
        return self._on.is_set()

    def draw(self, chance: random.Random, faults: list[str], weight: float = 1) -> str | None:
        """One of ``faults``, each ``weight`` times as likely as usual, or mostly none."""
        if not self.on:
            return None
        at = chance.random()
        for fault in faults:
            at -= self.rates[fault] * weight
            if at < 0:
                return fault
        return None

    def strike(self, part: str, fault: str, place: str, detail: str = "") -> None:
        """Counts a fault that has struck, and writes it down."""
        with self._lock:
            self.struck[part, fault, place] += 1
            after = round(time.monotonic() - self._begun, 3)
            entry = {"after_s": after, "part": part, "fault": fault, "place": place, "detail": detail}
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()

    def count(self, *faults: str) -> int:
        """How often any of these struck, anywhere."""
        with self._lock:
            return sum(n for (_, fault, _), n in self.struck.items() if fault in faults)
