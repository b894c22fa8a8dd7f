"""Alerts to Kafka: sent, and known to be there before anything goes on.

Does not hold: what an alert says (alerts/message.py) or when one is due (alerts/policy.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from confluent_kafka import KafkaError, Message, Producer

from warehouse.settings import Settings

_ALERT_DELIVERY_S = 60.0


class AlertUndeliveredError(RuntimeError):
    """The broker did not take an alert in time. The process ends and decides it again from the lake's position."""


class AlertProducer:
    """Sends alerts and returns when the broker has them. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        options = {
            "enable.idempotence": True,
            "linger.ms": 0,
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "delivery.timeout.ms": int(_ALERT_DELIVERY_S * 1000),
        }
        self._producer = Producer(settings.kafka(**options))
        self.sent: dict[str, int] = {}

    def send(self, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Produce (key, value) pairs and wait for their acknowledgement. Raises `AlertUndeliveredError`."""
        failures: list[str] = []
        count = 0
        for count, (key, value) in enumerate(messages, start=1):  # noqa: B007
            self._producer.produce(topic, value, key, on_delivery=partial(_note_failure, failures))
        if count and self._producer.flush(_ALERT_DELIVERY_S + 5):
            failures.append("time-out")
        if failures:
            raise AlertUndeliveredError(f"{len(failures)} alerts were not taken by topic {topic}: {failures[0]}")
        self.sent[topic] = self.sent.get(topic, 0) + count


def _note_failure(failures: list[str], error: KafkaError | None, _: Message) -> None:
    if error is not None:
        failures.append(error.name())
