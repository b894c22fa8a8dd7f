"""Scores to Kafka: handed over, never waited for while alerts are decided.

Does not hold: what a score says (`clinical/sepsis/score_message.py`), nor alerts, which are waited for
(`alert_producer.py`) by a producer of their own: no flush of theirs waits for a score.

What the broker does not take is counted and not kept: a score is made again after a restart, and with the patient's
next value.
"""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from warehouse.settings import Settings

_DELIVERY_S = 600.0
_LINGER_MS = 5
_MOST_BYTES = 32 << 20


class ScoreProducer:
    """Thread-safe. `handed`: messages given to it by topic; `lost`: those of them that no broker took."""

    def __init__(self, settings: Settings) -> None:
        options = {
            "enable.idempotence": True,
            "linger.ms": _LINGER_MS,
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "delivery.timeout.ms": int(_DELIVERY_S * 1000),
            "queue.buffering.max.kbytes": _MOST_BYTES >> 10,
        }
        self._producer = Producer(settings.kafka(**options))
        self.handed: dict[str, int] = {}
        self.lost = 0

    def hand_over(self, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Take (key, value) pairs and return at once, whatever the broker does."""
        for key, value in messages:
            self.handed[topic] = self.handed.get(topic, 0) + 1
            try:
                self._producer.produce(topic, value, key, on_delivery=self._note)
            except BufferError:  # as many wait as may
                self.lost += 1
        self._producer.poll(0)

    def settle(self, wait_s: float) -> None:
        """Wait so long for the broker to have all of them."""
        self._producer.flush(wait_s)

    def _note(self, error: KafkaError | None, _: Message) -> None:
        self.lost += error is not None
