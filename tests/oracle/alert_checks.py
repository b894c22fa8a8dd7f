"""What must be true of the alerts in a history: they are those that the rows give, told of the right patients.

Holds: the comparison of sent and withheld alerts with their recomputation (`alerts`).
Does not hold: the recomputation; the alerts' places and rows, which are checked like any stream's (`checks`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import alerts as offline
from .findings import Finding, equal, found, of_topic, plain
from .history import (
    ADMISSIONS,
    ALERTS,
    OWN_TABLE,
    VITALS,
    WITHHELD,
    History,
    Stream,
    log_positions,
    positions,
    where_in,
)


def check_alerts(history: History) -> Iterator[Finding]:
    """Sent and withheld alerts are those that the rows give offline, no more and no fewer, of the right patients."""
    vitals = history.streams[VITALS]
    rows = of_topic(history.tables[OWN_TABLE[VITALS]], vitals.topic_id)
    sent, withheld = (_told(history.streams[name].log, vitals.topic_id) for name in (ALERTS, WITHHELD))
    expired_before = {
        identity: sent[identity].offset if identity in sent else 1 << 62
        for identity, alert in withheld.items()
        if alert.withheld_because == offline.EXPIRED
    }
    decided = offline.recompute(rows, expired_before)
    for name, told, wanted in (
        (ALERTS, sent, {d.alert_id: d for d in decided if d.withheld_because is None}),
        (WITHHELD, withheld, {d.alert_id: d for d in decided if d.withheld_because is not None}),
    ):
        missing = [alert for identity, alert in wanted.items() if identity not in told]
        forged = [alert for identity, alert in told.items() if identity not in wanted]
        changed = [alert for identity, alert in told.items() if identity in wanted and wanted[identity] != alert]
        yield Finding("alerts_missing", len(missing), f"{name}: alert that the rows give", _source(missing))
        yield Finding("alerts_forged", len(forged), f"{name}: alert that the rows do not give", _source(forged))
        yield Finding("alerts_forged", len(changed), f"{name}: alert that the rows give otherwise", _source(changed))
        yield from _check_identity(name, history.streams[name], vitals)
        yield from _check_admission(name, history.streams[name], history.streams.get(ADMISSIONS))
    yield from _check_expiry(history.streams[WITHHELD])
    yield from _check_script(history)


def _check_script(history: History) -> Iterator[Finding]:
    """Each deterioration that a script promised was alerted on: patient, rule, level, and within its time."""
    told = set()
    for name in (ALERTS, WITHHELD):
        log = history.streams[name].log
        start_ms = (log["episode_start"].cast(pa.int64()).fill_null(0).to_numpy() // 1000).tolist()
        columns = (log[column].to_pylist() for column in ("patient_id", "rule", "level"))
        told.update(zip(*columns, start_ms, strict=True))
    promised = [alert for ledger in history.ledgers if ledger.finished for alert in ledger.heading["expected_alerts"]]
    missing = [
        alert
        for alert in promised
        if not any(
            (patient, rule) == (alert["patient_id"], alert["rule"])
            and level >= alert["least_level"]
            and alert["from_ms"] <= start <= alert["until_ms"]
            for patient, rule, level, start in told
        )
    ]
    yield Finding("alerts_missing", len(missing), "deterioration of the script without an alert")


def _told(log: pa.Table, topic_id: str) -> dict[str, offline.Decided]:
    """Alert id -> what its messages tell, in the words of what was decided; of several with one id the first sent."""
    told: dict[str, offline.Decided] = {}
    mine = log.filter(pc.equal(log["source_topic_id"], topic_id))
    start_ms, clock_ms = (
        (pc.fill_null(mine[name].cast(pa.int64()), 0).to_numpy() // 1000).tolist()
        for name in ("episode_start", "effective_at")
    )
    names = ("alert_id", "rule", "subject_token", "level", "withheld_because", "source_partition", "source_offset")
    for start, clock, (identity, rule, token, level, because, partition, offset) in zip(
        start_ms, clock_ms, zip(*(mine[name].to_pylist() for name in names), strict=True), strict=True
    ):
        told.setdefault(identity, offline.Decided(rule, token, start, level, because, partition, offset, clock))
    return told


def _source(alerts: list[offline.Decided]) -> str:
    return f"reading at partition {alerts[0].partition} offset {alerts[0].offset}" if alerts else ""


def _check_identity(name: str, stream: Stream, vitals: Stream) -> Iterator[Finding]:
    """The patient named is the one whose reading it was, the patient of the reading's own Kafka key; and the times told
    are that reading's."""
    log = stream.log.filter(pc.is_null(stream.log["fault"]))
    source = positions(log["source_partition"], log["source_offset"])
    at = where_in(log_positions(vitals.log), source)
    yield found("alerts_forged", at < 0, f"{name}: alert names a reading that Kafka does not have")
    log, at = log.filter(pa.array(at >= 0)), at[at >= 0]
    same = equal(log["patient_id"], vitals.log["person"].take(pa.array(at)))
    yield found("misattributed", ~same, f"{name}: alert names another patient than its reading")
    same = equal(log["patient_id"], log["person"])
    yield found("misattributed", ~same, f"{name}: alert names another patient than its key")
    reading = vitals.log.take(pa.array(at))
    expiry = pc.add(reading["appended"], pa.scalar(offline.TIME_TO_LIVE_MS * 1000, pa.duration("us")))
    for told, wanted in (
        ("device_time", reading["event_time"]),
        ("received_at", reading["received_at"]),
        ("appended_at", reading["appended"]),
        ("expires_at", expiry),
        ("ward", reading["ward"]),
    ):
        yield found("misattributed", ~equal(log[told], wanted), f"{name}: {told} is not the reading's")


def _check_admission(name: str, stream: Stream, admissions: Stream | None) -> Iterator[Finding]:
    """The second identifier and the bed, where an alert has them, were told of this very patient by an admission."""
    if admissions is None:
        return
    born, lain = (_told_of(admissions.log, *columns) for columns in (("birth_year",), ("ward", "bed")))
    log = stream.log.filter(pc.is_null(stream.log["fault"]))
    for what, known, columns in (
        ("another's date of birth", born, ("told_birth_year",)),
        ("a bed that nobody put the patient in", lain, ("ward", "bed")),
    ):
        said = list(zip(*(plain(log[column]).to_pylist() for column in ("patient_id", *columns)), strict=True))
        wrong = np.array([row[-1] is not None and row not in known for row in said], bool)
        yield found("misattributed", wrong, f"{name}: alert tells {what}")


def _told_of(log: pa.Table, *columns: str) -> set[tuple]:
    """What admissions say in these columns, each with its patient."""
    return set(zip(*(plain(log[column]).to_pylist() for column in ("person", *columns)), strict=True))


def _check_expiry(withheld: Stream) -> Iterator[Finding]:
    """What is on record as expired was processed no sooner than it expired."""
    log = withheld.log.filter(pc.equal(plain(withheld.log["withheld_because"]), offline.EXPIRED))
    early = pc.fill_null(pc.less(log["processed_at"], log["expires_at"]), True).to_numpy()
    yield found("alerts_missing", early, "withheld as expired before it expired")
