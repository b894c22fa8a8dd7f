"""An alert, and its message on `clinical.alerts`.

Holds: the alert's fields, its id, and its JSON; the key of the message.
Does not hold: when an alert is due (`policy.py`), the text of its reasons (`pipelines/clinical/`), the producer.

An alert names the patient by two identifiers. Where no admission told the second, the date of birth, or the bed, that
is said in `missing`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from pipelines.alerts.bedside import UNKNOWN, Bedside


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule's finding about one patient, due to be told (or, with `withheld_because`, only recorded).

    Times are milliseconds since 1970 UTC, or None where unknown.

    Attributes:
        rule, rule_version: what found it.
        severity: `warning`, `urgent` or `emergency`.
        level: the rule's own level, from 1.
        code, value: the signal that triggered and its value in the canonical unit, where one alone did.
        score: the rule's score, where it has one.
        score_is_lower_bound: whether something in `missing` could make the score higher.
        patient_id: the identifier as the device sent it, in clear: memory and the alert topic only.
        subject_token: the pseudonym.
        ward: the ward of the triggering reading.
        episode_start_ms: the subject's clock when the episode began.
        reasons: for people to read.
        missing: names of the signals the rule would have needed and did not have.
        device_ms: event time of the triggering reading, by the device's clock.
        received_ms: when a gateway received it.
        appended_ms: when the broker appended it.
        effective_ms: the subject's clock at that reading: the newest effective time known of them, never after an
            append (`pipelines/clinical/readings.py`).
        expires_ms: from when on nobody should be called about it.
        partition, offset: position of the triggering reading in its topic.
        late: appended long after its event time.
        withheld_because: `cool_down` or `expired`; None when due to be sent.
        model: what scored, for a rule that is a model: its name and version.
        evidence: what a rule over several inputs reckoned with (`Evidence.text`); empty where one reading says it all.
        revision: how many alerts of the same identity were retracted before: a result corrected down and up again
            gives an alert of its own.
        retracts: the `alert_id` that this one takes back.
    """

    rule: str
    rule_version: str
    severity: str
    level: int
    code: str | None
    value: float | None
    score: float | None
    score_is_lower_bound: bool
    patient_id: str
    subject_token: str
    ward: str | None
    episode_start_ms: int
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    device_ms: int
    received_ms: int | None
    appended_ms: int
    effective_ms: int
    expires_ms: int
    partition: int
    offset: int
    late: bool
    withheld_because: str | None = None
    model: str | None = None
    evidence: tuple[str, ...] = ()
    revision: int = 0
    retracts: str | None = None

    @property
    def alert_id(self) -> str:
        """The same for the same rule, version, subject, episode and level, however often it is worked out."""
        if self.retracts is not None:
            return _digest("retraction", self.retracts)
        return alert_id(
            self.rule, self.rule_version, self.subject_token, self.episode_start_ms, self.level, self.revision
        )

    @property
    def key(self) -> bytes:
        """Key of the Kafka message: the patient, as on every stream of theirs."""
        return self.patient_id.encode()


def alert_id(
    rule: str, rule_version: str, subject_token: str, episode_start_ms: int, level: int, revision: int = 0
) -> str:
    """The id of an alert of this identity."""
    again = (str(revision),) if revision else ()
    return _digest(rule, rule_version, subject_token, str(episode_start_ms), str(level), *again)


def _digest(*identity: str) -> str:
    return hashlib.sha256("\x1f".join(identity).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One input of a rule: its code, its value in the canonical unit, and the effective time it counts from."""

    code: str
    value: float
    at_ms: int

    @property
    def text(self) -> str:
        """`6690-2 13.2 2026-11-22T00:40:00.000Z`; the value so that it is read back as it was."""
        return f"{self.code} {self.value!r} {_iso(self.at_ms)}"

    @classmethod
    def of(cls, text: str) -> Evidence:
        """Read back from `text`."""
        code, value, at = text.split(" ")
        return cls(code, float(value), round(datetime.fromisoformat(at).timestamp() * 1000))


def encode(
    alert: Alert, topic_id: str, processed_at: datetime, alerted_at: datetime, bedside: Bedside = UNKNOWN
) -> bytes:
    """The alert as JSON of the contract `clinical.alerts`.

    Args:
        bedside: what admissions told of the patient until then.
        topic_id: Kafka's id of the topic the triggering reading came from.
        processed_at: when the stream had decided on it.
        alerted_at: when it is handed to the producer.
    """
    of_patient = {"birth_date": bedside.birth_date, "bed": bedside.bed_in(alert.ward)}
    message = {
        "alert_id": alert.alert_id,
        "rule": alert.rule,
        "rule_version": alert.rule_version,
        "model": alert.model,
        "severity": alert.severity,
        "level": alert.level,
        "code": alert.code,
        "value": alert.value,
        "score": alert.score,
        "score_is_lower_bound": alert.score_is_lower_bound,
        "patient": {"patient_id": alert.patient_id, "birth_date": of_patient["birth_date"]},
        "subject_token": alert.subject_token,
        "ward": alert.ward,
        "bed": of_patient["bed"],
        "episode_start": _iso(alert.episode_start_ms),
        "reasons": alert.reasons,
        "missing": [*alert.missing, *(name for name, value in of_patient.items() if value is None)],
        "evidence": alert.evidence or None,
        "times": _times(alert, processed_at, alerted_at),
        "expires_at": _iso(alert.expires_ms),
        "retracts": alert.retracts,
        "source": {"topic_id": topic_id, "partition": alert.partition, "offset": alert.offset},
        "late": alert.late,
    }
    if alert.withheld_because is not None:
        message["withheld_because"] = alert.withheld_because
    return msgspec.json.encode(message)


def _times(alert: Alert, processed_at: datetime, alerted_at: datetime) -> dict[str, str | None]:
    return {
        "device": _iso(alert.device_ms),
        "received": None if alert.received_ms is None else _iso(alert.received_ms),
        "appended": _iso(alert.appended_ms),
        "effective": _iso(alert.effective_ms),
        "processed": _written(processed_at),
        "alerted": _written(alerted_at),
    }


def _iso(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return _written(datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000))


def _written(moment: datetime) -> str:
    """ISO 8601 UTC with milliseconds, e.g. 2026-11-22T01:02:03.456Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
