"""What must be true of the alerts in a history: they are those that the rows give, told of the right patients.

Holds: the comparison of sent and withheld alerts with their recomputation (`alerts`).
Does not hold: the recomputation; the alerts' places and rows, which are checked like any stream's (`checks`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import alerts as offline
from . import results_and_glucose
from . import scores_across as across_streams
from .findings import Finding, equal, found, of_topic, plain
from .history import (
    ADMISSIONS,
    ALERTS,
    LABS,
    MEDICATION,
    OWN_TABLE,
    VITALS,
    WEARABLES,
    WITHHELD,
    History,
    Stream,
    log_positions,
    positions,
    where_in,
)

SOURCES = (VITALS, WEARABLES, LABS)
"""Streams whose rows give rise to alerts."""
JUDGED_ELSEWHERE = frozenset(("sepsis",))
"""A model's alerts (`sepsis_alerts`)."""
HAPPENED = {LABS: "collected_at"}


def check_alerts(history: History) -> Iterator[Finding]:
    """Sent and withheld alerts are those that the rows give offline, no more and no fewer, of the right patients."""
    told = {name: _of_rules(history.streams[name].log) for name in (ALERTS, WITHHELD)}
    yield from _check_exact(history, told)
    yield from _check_across(history, told)
    yield from _check_absence(history, told)
    for name in (ALERTS, WITHHELD):
        yield from _check_identity(name, history)
        yield from _check_admission(name, history.streams[name], history.streams.get(ADMISSIONS))
    yield from _check_expiry(history.streams[WITHHELD])
    yield from _check_script(history)


def _of_rules(log: pa.Table) -> dict[str, pa.Table]:
    """The alerts parted by how they are judged: `exact`, `across`, `absence`."""
    rule = plain(log["rule"])
    across = pc.fill_null(pc.is_in(rule, pa.array(sorted(across_streams.LEVELS))), False)
    absence = pc.fill_null(pc.starts_with(rule, "absence."), False)
    elsewhere = pc.fill_null(pc.is_in(rule, pa.array(sorted(JUDGED_ELSEWHERE))), False)
    exact = pc.invert(pc.or_(pc.or_(across, absence), elsewhere))
    return {"exact": log.filter(exact), "across": log.filter(across), "absence": log.filter(absence)}


def _rows(history: History, stream: str) -> pa.Table | None:
    if stream not in history.streams or OWN_TABLE[stream] not in history.tables:
        return None
    return of_topic(history.tables[OWN_TABLE[stream]], history.streams[stream].topic_id)


def _check_exact(history: History, told: dict[str, dict[str, pa.Table]]) -> Iterator[Finding]:
    """Alerts of rules that look at one stream: by its positions they are exactly those of the recomputation."""
    sent, withheld = (_told(told[name]["exact"]) for name in (ALERTS, WITHHELD))
    expired_before = {
        identity: sent[identity].offset if identity in sent else 1 << 62
        for identity, alert in withheld.items()
        if alert.withheld_because == offline.EXPIRED
    }
    decided = recompute(history, expired_before)
    for name, made, wanted in (
        (ALERTS, sent, {d.alert_id: d._replace(revision=0) for d in decided if d.withheld_because is None}),
        (WITHHELD, withheld, {d.alert_id: d._replace(revision=0) for d in decided if d.withheld_because is not None}),
    ):
        missing = [alert for identity, alert in wanted.items() if identity not in made]
        forged = [alert for identity, alert in made.items() if identity not in wanted]
        changed = [alert for identity, alert in made.items() if identity in wanted and wanted[identity] != alert]
        yield Finding("alerts_missing", len(missing), f"{name}: alert that the rows give", _source(missing))
        yield Finding("alerts_forged", len(forged), f"{name}: alert that the rows do not give", _source(forged))
        yield Finding("alerts_forged", len(changed), f"{name}: alert that the rows give otherwise", _source(changed))


def recompute(history: History, expired_before: Mapping[str, int]) -> list[offline.Decided]:
    """What the rows of all streams give by the rules that look at one stream each."""
    decided = []
    for stream, of_stream in (
        (VITALS, offline.recompute),
        (LABS, results_and_glucose.of_results),
        (WEARABLES, results_and_glucose.of_glucose),
    ):
        rows = _rows(history, stream)
        if rows is not None:
            decided += of_stream(rows, expired_before)
    return decided


def _check_across(history: History, told: dict[str, dict[str, pa.Table]]) -> Iterator[Finding]:
    """Alerts over several streams are borne out by the rows they name; and whoever vital signs or results alone must
    have given one was alerted on."""
    vitals = _rows(history, VITALS)
    known = across_streams.inputs(vitals, _rows(history, LABS), _rows(history, MEDICATION))
    taken_back = set(told[ALERTS]["across"]["retracts"].to_pylist())
    alerted = set()
    for name in (ALERTS, WITHHELD):
        wrong = []
        for alert in told[name]["across"].to_pylist():
            alerted.add((alert["rule"], alert["subject_token"]))
            if alert["retracts"] is not None:
                continue
            evidence = across_streams.read_evidence(alert["evidence"] or ())
            clock_ms = math.floor(alert["effective_at"].timestamp() * 1000 + 0.5)
            token, rule, level = alert["subject_token"], alert["rule"], alert["level"]
            if not across_streams.is_borne_out(rule, level, clock_ms, evidence, known, token):
                wrong.append(f"reading at partition {alert['source_partition']} offset {alert['source_offset']}")
        yield Finding("alerts_forged", len(wrong), f"{name}: alert that no rows bear out", wrong[0] if wrong else "")
    lone = [told[ALERTS]["across"], told[ALERTS]["exact"]]
    ids = {identity for log in lone for identity in log["alert_id"].to_pylist()}
    unknown = [identity for identity in taken_back if identity is not None and identity not in ids]
    yield Finding("alerts_forged", len(unknown), "retraction of an alert that was never sent")
    missed = [token for token in offline.meets_sirs(vitals) if ("sirs", token) not in alerted]
    yield Finding("alerts_missing", len(missed), "subject whose vital signs alone meet SIRS without an alert")


def _check_absence(history: History, told: dict[str, dict[str, pa.Table]]) -> Iterator[Finding]:
    """An absence names the last reading of its signal: long enough before it was told, and none came in between."""
    rows = _rows(history, VITALS)
    heard: dict[tuple, list[int]] = {}
    columns = (plain(rows[name]).to_pylist() for name in ("subject_token", "code"))
    appended = (rows["kafka_time"].cast(pa.int64()).to_numpy() // 1000).tolist()
    for token, code, flag, at in zip(*columns, plain(rows["quality_flag"]).to_pylist(), appended, strict=True):
        if flag is None:
            heard.setdefault((token, code), []).append(at)
    wrong = 0
    for name in (ALERTS, WITHHELD):
        for alert in told[name]["absence"].to_pylist():
            last, said = (alert[at].timestamp() * 1000 for at in ("appended_at", "processed_at"))
            between = [at for at in heard.get((alert["subject_token"], alert["code"]), ()) if last < at < said - 2_000]
            wrong += bool(between) or said - last < 5 * offline.MINUTE_MS
    yield Finding("alerts_forged", wrong, "absence of a signal that was heard")


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


def _told(mine: pa.Table) -> dict[str, offline.Decided]:
    """Alert id -> what its messages tell, in the words of what was decided; of several with one id the first sent."""
    told: dict[str, offline.Decided] = {}
    start_ms, clock_ms = (
        (pc.fill_null(mine[name].cast(pa.int64()), 0).to_numpy() // 1000).tolist()
        for name in ("episode_start", "effective_at")
    )
    names = (
        "alert_id", "rule", "subject_token", "level", "withheld_because", "source_partition", "source_offset",
        "retracts",
    )  # fmt: skip
    for start, clock, (identity, rule, token, level, because, partition, offset, retracts) in zip(
        start_ms, clock_ms, zip(*(mine[name].to_pylist() for name in names), strict=True), strict=True
    ):
        told.setdefault(
            identity, offline.Decided(rule, token, start, level, because, partition, offset, clock, retracts)
        )
    return told


def _source(alerts: list[offline.Decided]) -> str:
    return f"reading at partition {alerts[0].partition} offset {alerts[0].offset}" if alerts else ""


def _check_identity(name: str, history: History) -> Iterator[Finding]:
    """The patient named is the one whose row it was, the patient of the row's own Kafka key; and the times told are
    that row's."""
    whole = history.streams[name].log
    whole = whole.filter(pc.is_null(whole["fault"]))
    sources = {history.streams[s].topic_id: history.streams[s] for s in SOURCES if s in history.streams}
    strange = pc.invert(pc.is_in(plain(whole["source_topic_id"]), pa.array(sorted(sources), pa.string())))
    yield found("alerts_forged", strange.to_numpy(), f"{name}: alert names a topic that no rule looks at")
    for topic_id, source in sources.items():
        log = whole.filter(pc.equal(whole["source_topic_id"], topic_id))
        yield from _check_source(name, log, source)


def _check_source(name: str, log: pa.Table, source: Stream) -> Iterator[Finding]:
    at = where_in(log_positions(source.log), positions(log["source_partition"], log["source_offset"]))
    yield found("alerts_forged", at < 0, f"{name}: alert names a reading that Kafka does not have")
    log, at = log.filter(pa.array(at >= 0)), at[at >= 0]
    same = equal(log["patient_id"], source.log["person"].take(pa.array(at)))
    yield found("misattributed", ~same, f"{name}: alert names another patient than its reading")
    same = equal(log["patient_id"], log["person"])
    yield found("misattributed", ~same, f"{name}: alert names another patient than its key")
    reading = source.log.take(pa.array(at))
    expiry = pc.add(reading["appended"], pa.scalar(offline.TIME_TO_LIVE_MS * 1000, pa.duration("us")))
    # Of a silence the time passes that follows its last reading: device's time and expiry are not that reading's.
    of_reading = ~pc.fill_null(pc.starts_with(plain(log["rule"]), "absence."), False).to_numpy(zero_copy_only=False)
    exact = [
        ("device_time", reading[HAPPENED.get(source.name, "event_time")], of_reading),
        ("appended_at", reading["appended"], True),
        ("expires_at", expiry, of_reading),
    ]
    if source.name != LABS:
        exact += [("received_at", reading["received_at"], of_reading), ("ward", reading["ward"], of_reading)]
    for told, wanted, judged in exact:
        yield found("misattributed", ~equal(log[told], wanted) & judged, f"{name}: {told} is not the reading's")


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
