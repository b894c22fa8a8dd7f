"""The ward that the demonstration plays: two hours of all streams that end now, sent as fast as the broker takes them,
and patients more: one for each rule, and one who develops sepsis.

Holds: its size, its start, and the thread that plays it with a ledger.
Does not hold: what patients and devices do (infra/simulator).
"""

from __future__ import annotations

import heapq
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from infra.simulator import rule_patients, sepsis
from infra.simulator.hazards import ADMISSIONS
from infra.simulator.hospital import STREAMS, play_hospital
from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player, PlayReceipt
from infra.simulator.script import ExpectedAlert, expected_alerts, plan_ward
from infra.simulator.ward import ROW, Event
from warehouse.settings import Settings

PATIENTS = 24
DURATION_MS = 2 * 60 * 60 * 1000
SPEED = 240.0
"""Ward seconds a second: two hours pass in half a minute, so that there is something to watch."""
_DISCHARGES = {"A03": 1, "A13": -1}
"""HL7 triggers: discharge, and its cancellation."""


class WardPlay(threading.Thread):
    """Plays the ward once. `receipt` is there when it is played out, `error` if it could not be."""

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__(name="ward", daemon=True)
        self._settings, self._seed = settings, seed
        self.expected: tuple[ExpectedAlert, ...] = ()
        self.receipt: PlayReceipt | None = None
        self.error: Exception | None = None
        self._player: Player | None = None
        self._left: Counter[str] = Counter()
        self._ending = threading.Event()

    @property
    def sent(self) -> int:
        """Messages that the broker has acknowledged."""
        return self._player.counts["ok"] if self._player else 0

    @property
    def at_home(self) -> list[str]:
        """Patients whose stay has ended: those that may be erased."""
        return sorted(patient for patient, ends in self._left.items() if ends > 0)

    def run(self) -> None:
        start_ms = int(time.time() * 1000) - DURATION_MS
        end_ms = start_ms + DURATION_MS
        of_ward = expected_alerts(plan_ward(self._seed, start_ms, DURATION_MS, PATIENTS))
        of_rules = rule_patients.expected_alerts(start_ms, end_ms)
        self.expected = (*of_ward, *of_rules, sepsis.expected_alert(start_ms, end_ms))
        events = heapq.merge(
            play_hospital(self._seed, start_ms, DURATION_MS, PATIENTS),
            rule_patients.play_rule_patients(self._seed, start_ms, end_ms),
            sepsis.play_sepsis(self._seed, start_ms, end_ms),
            key=lambda event: event.due_ms,
        )
        try:
            self._player = self._prepared(start_ms)
            self.receipt = self._player.play(self._noticed(events), self._ending.is_set)
        except Exception as error:
            self.error = error

    def _noticed(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events as they are; who goes home is noted on the way."""
        for event in events:
            if event.stream == ADMISSIONS and event.fate == ROW and event.patient:
                self._left[event.patient] += _DISCHARGES.get(json.loads(event.value or b"{}").get("type"), 0)
            yield event

    def _prepared(self, start_ms: int) -> Player:
        topics = {stream: self._settings.topic(stream) for stream in STREAMS}
        heading = {
            "topics": topics,
            "title": f"demonstration, seed {self._seed}",
            "expected_alerts": [asdict(alert) for alert in self.expected],
        }
        ledger = Ledger(self._settings.home / "demonstration" / f"ledger-{start_ms}.jsonl", heading)
        kafka = self._settings.kafka(log_level=0)
        return Player(kafka, topics, ledger, Pace(speed=SPEED), time.time, time.sleep)

    def stop(self) -> None:
        self._ending.set()
