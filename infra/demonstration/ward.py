"""The ward that the demonstration plays: two hours that end now, sent as fast as the broker takes them.

Holds: its size, its start, and the thread that plays it with a ledger.
Does not hold: what patients and devices do (infra/simulator).
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from pathlib import Path

from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player, PlayReceipt
from infra.simulator.script import ExpectedAlert, expected_alerts, plan_ward
from infra.simulator.ward import play_ward
from warehouse.settings import Settings

STREAM = "device.vitals"
PATIENTS = 24
DURATION_MS = 2 * 60 * 60 * 1000
SPEED = 240.0
"""Ward seconds a second: two hours pass in half a minute, so that there is something to watch."""


class WardPlay(threading.Thread):
    """Plays the ward once. `receipt` is there when it is played out, `error` if it could not be."""

    def __init__(self, settings: Settings, seed: int, now_ms: int) -> None:
        super().__init__(name="ward", daemon=True)
        start_ms = now_ms - DURATION_MS
        self.expected: tuple[ExpectedAlert, ...] = expected_alerts(plan_ward(seed, start_ms, DURATION_MS, PATIENTS))
        self.receipt: PlayReceipt | None = None
        self.error: Exception | None = None
        self.ledger: Path = settings.home / "demonstration" / f"ledger-{now_ms}.jsonl"
        self._events = play_ward(seed, start_ms, DURATION_MS, PATIENTS)
        heading = {
            "stream": STREAM,
            "topic": settings.topic(STREAM),
            "title": f"demonstration, seed {seed}",
            "expected_alerts": [asdict(alert) for alert in self.expected],
        }
        book = Ledger(self.ledger, heading)
        kafka = settings.kafka(log_level=0)
        self._player = Player(kafka, settings.topic(STREAM), book, Pace(speed=SPEED), time.time, time.sleep)
        self._ending = threading.Event()

    @property
    def sent(self) -> int:
        """Messages that the broker has acknowledged."""
        return self._player.counts["ok"]

    def run(self) -> None:
        try:
            self.receipt = self._player.play(self._events, self._ending.is_set)
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        self._ending.set()
