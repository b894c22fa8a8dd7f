"""Lineage events to Kafka: sent, or said not to have been; a run never fails for them.

Does not hold: what an event says (`assets/lineage.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from warehouse.settings import Settings

_DELIVERY_S = 5.0


class LineageUndeliveredError(RuntimeError):
    """The broker did not take lineage events in time. What they tell of has happened all the same."""


def send_lineage(settings: Settings, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> int:
    """Produce (key, value) pairs and wait for their acknowledgement, some seconds at most; how many were sent.

    Raises `LineageUndeliveredError`.
    """
    failures: list[str] = []

    def note(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failures.append(error.name())

    options = {
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "zstd",
        "delivery.timeout.ms": int(_DELIVERY_S * 1000),
        "topic.metadata.propagation.max.ms": 1_000,
        "log_level": 2,
    }
    producer = Producer(settings.kafka(**options))
    count = 0
    for count, (key, value) in enumerate(messages, start=1):  # noqa: B007
        producer.produce(topic, value, key, on_delivery=note)
    if count and producer.flush(_DELIVERY_S + 1):
        failures.append("time-out")
    if failures:
        raise LineageUndeliveredError(f"{len(failures)} events were not taken by topic {topic}: {failures[0]}")
    return count
