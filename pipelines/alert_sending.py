"""From decisions to the alert topics: what is new of them, each with whom it concerns, those withheld apart.

Does not hold: what was decided (`pipelines/clinical`), the message (`pipelines/alerts/message.py`), the broker
(`alert_producer.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from pipelines.alert_producer import AlertProducer
from pipelines.alerts.message import Alert, encode
from pipelines.restore import ALERTS, WITHHELD
from pipelines.shards import ShardState
from warehouse.settings import Settings


class AlertSender:
    """Sends what monitors decided; the rules' and the model's alerts go the same way."""

    def __init__(self, settings: Settings, producer: Callable[[], AlertProducer]) -> None:
        self._settings, self._producer = settings, producer

    def send(self, state: ShardState, decided: Iterable[tuple[str, Alert]], processed_at: datetime) -> None:
        """Returns when the broker has every alert that was not told before. Raises `AlertUndeliveredError`.

        Args:
            decided: alerts, each with the stream of the reading that gave rise to it, in the order of telling.
        """
        decided = list(decided)
        alerted_at = datetime.now(UTC)
        for topic, withheld in ((ALERTS, False), (WITHHELD, True)):
            messages = [
                (
                    alert.key,
                    encode(
                        alert,
                        state.facts[stream].topic_id,
                        processed_at,
                        alerted_at,
                        state.bedsides.of(alert.patient_id),
                    ),
                )
                for stream, alert in decided
                if bool(alert.withheld_because) is withheld and state.known_alerts.is_new(topic, alert.alert_id)
            ]
            if messages:
                self._producer().send(self._settings.topic(topic), messages)
