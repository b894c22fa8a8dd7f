"""A consumer of `clinical.alerts` that knows nothing of the stream: what any pager would see.

Holds: which alerts came, and how long each took from the reading's append to its own.
Does not hold: what should have come.
"""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import NamedTuple

from confluent_kafka import Consumer

from infra.simulator.script import ExpectedAlert
from warehouse.settings import Settings

STREAM = "clinical.alerts"


class SeenAlert(NamedTuple):
    """An alert as it stood on Kafka. Times are milliseconds since 1970 UTC; latency is append to append. `model`: name
    and version, where a model spoke."""

    patient: str
    rule: str
    level: int
    severity: str
    ward: str
    episode_start_ms: int
    latency_ms: float
    model: str | None = None
    reasons: tuple[str, ...] = ()


class AlertWitness(threading.Thread):
    """Reads the alerts topic from its start. `alerts` grows; it may be read by any thread."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="alert witness", daemon=True)
        self.alerts: list[SeenAlert] = []
        self.first_seen_at: float | None = None
        self._settings = settings
        self._ending = threading.Event()

    def run(self) -> None:
        options = {"group.id": "wardstream-demonstration", "auto.offset.reset": "earliest", "log_level": 0}
        consumer = Consumer(self._settings.kafka(**options))
        consumer.subscribe([self._settings.topic(STREAM)])
        while not self._ending.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                self.first_seen_at = self.first_seen_at or time.time()
                self.alerts.append(_seen(message.value() or b"{}", message.timestamp()[1]))
        consumer.close()

    def stop(self) -> None:
        self._ending.set()

    def unseen(self, expected: tuple[ExpectedAlert, ...]) -> list[ExpectedAlert]:
        """Those deteriorations of the script for which no alert has come."""
        seen = list(self.alerts)
        return [wanted for wanted in expected if not any(_answers(alert, wanted) for alert in seen)]


def _seen(value: bytes, appended_ms: int) -> SeenAlert:
    said = json.loads(value)
    return SeenAlert(
        patient=said["patient"]["patient_id"],
        rule=said["rule"],
        level=said["level"],
        severity=said["severity"],
        ward=said["ward"],
        episode_start_ms=_milliseconds(said["episode_start"]),
        latency_ms=appended_ms - _milliseconds(said["times"]["appended"]),
        model=said.get("model"),
        reasons=tuple(said["reasons"]),
    )


def _answers(alert: SeenAlert, wanted: ExpectedAlert) -> bool:
    return (
        (alert.patient, alert.rule) == (wanted.patient_id, wanted.rule)
        and alert.level >= wanted.least_level
        and wanted.from_ms <= alert.episode_start_ms <= wanted.until_ms
    )


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
