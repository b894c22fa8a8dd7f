"""A score, and its message on `clinical.scores`.

Holds: the score's fields, its id, and its JSON.
Does not hold: how it is worked out (`scoring.py`), when (`stream_score.py`), or the producer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

STREAM = "clinical.scores"


@dataclass(frozen=True, slots=True)
class Score:
    """One model's score of one hour of a patient. Times are milliseconds since 1970 UTC.

    Attributes:
        patient_id: the identifier as it was sent, in clear: memory and the topic only.
        subject_token: the pseudonym.
        ward: of the newest reading that named one.
        model, model_version: what scored.
        hour_ms: beginning of the hour of the clock.
        hour_of_stay: the same hour counted from the beginning of the stay, from 1.
        score, risk, threshold: as the model says it, calibrated, and from where it alerts.
        reasons, missing: for people to read; reasons only where the score alerts.
        effective_ms: the newest effective time known of the patient.
        stream, partition, offset: where the newest reading stands that the score knows.
        contributions, alert_id: in revision 1, the model's contributions and the alert they were worked out for.
    """

    patient_id: str
    subject_token: str
    ward: str | None
    model: str
    model_version: str
    hour_ms: int
    hour_of_stay: int
    score: float
    risk: float
    threshold: float
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    effective_ms: int
    stream: str
    partition: int
    offset: int
    contributions: tuple[str, ...] | None = None
    alert_id: str | None = None

    @property
    def revision(self) -> int:
        return int(self.contributions is not None)

    @property
    def is_alerting(self) -> bool:
        return self.score >= self.threshold

    @property
    def score_id(self) -> str:
        """The same for the same score after the same reading, however often it is worked out. The reading is part of it
        since a score that returns to an earlier value is another one."""
        identity = (
            self.model, self.model_version, self.subject_token, self.hour_ms, float(self.score).hex(), self.revision,
            self.stream, self.partition, self.offset,
        )  # fmt: skip
        return hashlib.sha256("\x1f".join(map(str, identity)).encode()).hexdigest()[:32]

    @property
    def key(self) -> bytes:
        """Key of the Kafka message: the patient, as on every stream of theirs."""
        return self.patient_id.encode()


def encode_score(score: Score, topic_id: str, scored_at: datetime) -> bytes:
    """The score as JSON of the contract `clinical.scores`. `topic_id`: Kafka's id of the topic of `score.stream`."""
    return msgspec.json.encode(
        {
            "score_id": score.score_id,
            "patient_id": score.patient_id,
            "subject_token": score.subject_token,
            "ward": score.ward,
            "model": score.model,
            "model_version": score.model_version,
            "hour_start": _iso(score.hour_ms),
            "hour_of_stay": score.hour_of_stay,
            "score": score.score,
            "risk": score.risk,
            "threshold": score.threshold,
            "is_alerting": score.is_alerting,
            "reasons": score.reasons,
            "missing": score.missing,
            "contributions": score.contributions,
            "alert_id": score.alert_id,
            "revision": score.revision,
            "effective_at": _iso(score.effective_ms),
            "scored_at": _written(scored_at),
            "source": {"topic_id": topic_id, "partition": score.partition, "offset": score.offset},
        }
    )


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return _written(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000))


def _written(moment: datetime) -> str:
    """ISO 8601 UTC with milliseconds, e.g. 2026-11-22T01:02:03.456Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
