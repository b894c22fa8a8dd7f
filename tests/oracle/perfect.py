"""A small ward, and the history that a pipeline without fault would leave of it.

Holds: facts, the messages made of them, and the rows made of the same facts, not of the messages.
Does not hold: anything of the product or its simulator; the alerts are those of the offline recomputation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from . import alerts as offline
from .alert_message import ALERT_SCHEMA, read_alerts
from .history import ALERTS, DUPLICATES, OWN_TABLE, REJECTS, SCORES, VITALS, WITHHELD, History, LakeTable, Stream
from .kafka_log import log_table
from .ledger import SENT_SCHEMA, Ledger
from .oracle import READERS
from .perfect_scores import MODEL, alerts_told, message, scores_told
from .perfect_scores import Told as ScoreTold
from .perfect_streams import SEALED, Told, key_of, row_columns, sealed_message, told_by_stream
from .reading import read_messages
from .score_message import SCORE_SCHEMA, read_scores
from .vault import Keys

START_MS = 1_795_000_000_000
DELAY_MS = 700
TOPIC_IDS = {name: f"topic-{name}" for name in OWN_TABLE}
PARTITIONS = 2
MOMENTS_MS = (START_MS + 25 * 60_000, START_MS + 101 * 60_000)
"""When sepsis scores are told: while a patient is ill, and when all has come."""
UTC_US = pa.timestamp("us", "UTC")


class Fact(NamedTuple):
    """One message: who, what, when, and what must become of it."""

    number: int
    patient: int | None
    code: str
    value: float | str
    unit: str | None
    event_ms: int
    fate: str = "row"
    reason: str | None = None
    repeats: int | None = None

    @property
    def event_id(self) -> str:
        return str(self.number if self.repeats is None else self.repeats)

    @property
    def person(self) -> str | None:
        return None if self.patient is None else f"P{self.patient:06d}"

    @property
    def token(self) -> str | None:
        return None if self.patient is None else hashlib.md5(f"{self.patient}".encode()).hexdigest()

    @property
    def partition(self) -> int:
        return (self.patient or 0) % PARTITIONS

    @property
    def appended_ms(self) -> int:
        return START_MS + self.number * 10_000 + DELAY_MS

    def key(self) -> bytes:
        return (self.person or "device:MON-9").encode()

    def message(self) -> bytes:
        said: dict[str, Any] = {
            "event_id": self.event_id,
            "patient_id": self.person,
            "device_id": "MON-9",
            "ward": "ICU-1",
        }
        said |= {"code": self.code, "event_time": iso(self.event_ms), "received_at": None, "seq": int(self.event_id)}
        said |= {"text_value": self.value} if isinstance(self.value, str) else {"value": self.value, "unit": self.unit}
        whole = json.dumps(said).encode()
        return whole[:50] if self.reason == "malformed_json" else whole


def iso(at_ms: int) -> str:
    """ISO 8601 with milliseconds and Z."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def facts() -> list[Fact]:
    """Six hundred messages, ten seconds apart: patient 1 falls ill twice, 2 and 3 stay well, a device stands alone."""
    return [_fact(number) for number in range(600)]


def _fact(number: int) -> Fact:
    event_ms = START_MS + number * 10_000
    patient = 1 + number % 3
    if number % 50 == 17:
        return Fact(number, None, "8867-4", 71.0, "/min", event_ms)
    if number % 50 == 29:
        return Fact(number, patient, "8867-4", 72.0, "/min", event_ms, "reject", "malformed_json")
    if number % 50 == 41:
        return _fact(number - 3)._replace(number=number, fate="duplicate", repeats=number - 3)
    if number % 50 == 44:
        return Fact(number, patient, "8310-5", 98.6, "[degF]", event_ms)
    if number % 50 == 47:
        return Fact(number, patient, "80288-4", "A", None, event_ms)
    return Fact(number, patient, *_vital(number, patient), event_ms)


def _vital(number: int, patient: int) -> tuple[str, float, str]:
    code, unit, well, ill = (
        ("8867-4", "/min", 72.0, 140.0),
        ("9279-1", "/min", 15.0, 27.0),
        ("59408-5", "%", 98.0, 90.0),
        ("8480-6", "mm[Hg]", 125.0, 88.0),
        ("8310-5", "Cel", 37.0, 39.4),
    )[number // 3 % 5]
    is_ill = patient == 1 and (100 <= number < 160 or 245 <= number < 270)
    return code, ill if is_ill else well, unit


def perfect_history() -> History:
    """The history of `facts` through a pipeline that makes no mistake."""
    told = facts()
    offsets = dict(_offsets(told))
    vitals = _vitals_table([(fact, offsets[fact.number]) for fact in told if fact.fate == "row"])
    streams = {VITALS: _vitals_stream(told, offsets)}
    tables = {"vitals": _lake_table("vitals", vitals, streams[VITALS])}
    for name, others in told_by_stream().items():
        streams[name] = _other_stream(name, others)
        tables[OWN_TABLE[name]] = _lake_table(OWN_TABLE[name], _other_rows(name, others), streams[name])
    persons = {fact.token: fact.person for fact in told if fact.token and fact.person}
    readings = {(fact.partition, offsets[fact.number]): fact for fact in told}
    scored = scores_told(tables, MOMENTS_MS)
    newest = {
        (fact.token, at_ms): (fact.partition, offsets[fact.number])
        for at_ms in MOMENTS_MS
        for fact in told
        if fact.token and fact.fate == "row" and fact.appended_ms <= at_ms
    }
    streams[SCORES] = _score_stream(scored, persons, newest)
    tables["scores"] = _lake_table("scores", _told_rows(streams[SCORES], SCORE_SCHEMA), streams[SCORES])
    on_scores = alerts_told(scored, newest)
    said = {decision.alert_id: (at_ms, score) for decision, at_ms, score in on_scores}
    decided = [*offline.recompute(vitals, {}), *_sirs(vitals), *(decision for decision, *_ in on_scores)]
    for name, wanted in ((ALERTS, False), (WITHHELD, True)):
        mine = [decision for decision in decided if (decision.withheld_because is not None) == wanted]
        streams[name] = _alert_stream(name, mine, persons, readings, said)
        table = OWN_TABLE[name]
        tables[table] = _lake_table(table, _told_rows(streams[name], ALERT_SCHEMA), streams[name])
    rejects, duplicates = _reject_rows(told, offsets), _duplicate_rows(told, offsets)
    for others in told_by_stream().values():
        rejects = pa.concat_tables([rejects, _other_rejects(others, rejects.schema)])
        duplicates = pa.concat_tables([duplicates, _other_duplicates(others, duplicates.schema)])
    tables[REJECTS] = _lake_table(REJECTS, rejects, *streams.values())
    tables[DUPLICATES] = _lake_table(DUPLICATES, duplicates, *streams.values())
    return History(streams, tables, (_ledger(told, offsets),), keys=_keys(tables), models=(MODEL,))


def _sirs(vitals: pa.Table) -> list[offline.Decided]:
    """Of everybody who meets SIRS the first alert; what it was reckoned from stands in `_EVIDENCE`."""
    decided = []
    for token, clock_ms, place, inputs in offline.first_sirs(vitals):
        decided.append(offline.Decided("sirs", token, clock_ms, 1, None, *place, clock_ms))
        _EVIDENCE[decided[-1].alert_id] = [
            f"{offline.CODES[signal]} {value!r} {iso(at)}" for signal, (at, value) in inputs.items()
        ]
    return decided


_EVIDENCE: dict[str, list[str]] = {}


def _keys(tables: dict[str, LakeTable]) -> Keys:
    """Everybody's, and each day's on which something was appended."""
    tokens = {token for table in tables.values() for token in table.rows["subject_token"].to_pylist() if token}
    days = {f"{at:%Y-%m-%d}" for table in tables.values() for at in table.rows["kafka_time"].to_pylist()}
    owners = [*(f"person:{token}" for token in tokens), *(f"day:{day}" for day in days)]
    return Keys({owner: key_of(owner) for owner in owners})


def _offsets(told: list[Fact]) -> Iterator[tuple[int, int]]:
    nexts = [0] * PARTITIONS
    for fact in told:
        yield fact.number, nexts[fact.partition]
        nexts[fact.partition] += 1


def _ends(log: pa.Table) -> dict[int, tuple[int, int]]:
    partitions = log["partition"].to_numpy()
    return {p: (0, int(np.count_nonzero(partitions == p))) for p in range(PARTITIONS)}


def _vitals_stream(told: list[Fact], offsets: dict[int, int]) -> Stream:
    appended_us = np.array([fact.appended_ms * 1000 for fact in told])
    places = [fact.partition for fact in told], [offsets[fact.number] for fact in told]
    raw = [fact.key() for fact in told], [fact.message() for fact in told]
    log = log_table(*places, appended_us, *raw, read_messages)
    log = log.sort_by([("partition", "ascending"), ("offset", "ascending")])
    return Stream(VITALS, TOPIC_IDS[VITALS], _ends(log), log)


def _lake_table(name: str, rows: pa.Table, *streams: Stream) -> LakeTable:
    vector = {stream.topic_id: {p: high for p, (_, high) in stream.ends.items()} for stream in streams}
    return LakeTable(name, rows, vector, len(rows))


def _place(fact: Fact, offsets: dict[int, int]) -> dict[str, Any]:
    return {
        "topic_id": TOPIC_IDS[VITALS],
        "kafka_partition": fact.partition,
        "kafka_offset": offsets[fact.number],
        "kafka_time": fact.appended_ms * 1000,
    }


_PLACE = [
    ("topic_id", pa.string()),
    ("kafka_partition", pa.int32()),
    ("kafka_offset", pa.int64()),
    ("kafka_time", UTC_US),
]


def _vitals_table(rows: list[tuple[Fact, int]]) -> pa.Table:
    strings = ("event_id", "subject_token", "device_id", "ward", "code", "text_value", "unit", "quality_flag")
    schema = pa.schema(
        [(name, pa.string()) for name in strings]
        + [("numeric_value", pa.float64()), ("event_time", UTC_US), ("received_at", UTC_US), ("seq", pa.int64())]
        + [("samples", pa.list_(pa.float64())), ("period_ms", pa.float64())]
        + SEALED
        + _PLACE
    )
    return pa.Table.from_pylist([_row(fact, offset) for fact, offset in rows], schema)


def _row(fact: Fact, offset: int) -> dict[str, Any]:
    said: dict[str, Any] = {"numeric_value": fact.value, "unit": fact.unit}
    if isinstance(fact.value, str):
        said = {"text_value": fact.value}
    elif fact.unit == "[degF]":
        said = {"numeric_value": (fact.value - 32) / 1.8, "unit": "Cel"}
    return {
        "event_id": fact.event_id, "subject_token": fact.token, "device_id": "MON-9", "ward": "ICU-1",
        "code": fact.code, "event_time": fact.event_ms * 1000, "seq": int(fact.event_id), **said,
        **_place(fact, {fact.number: offset}),
    }  # fmt: skip


def _reject_rows(told: list[Fact], offsets: dict[int, int]) -> pa.Table:
    columns = [(name, pa.string()) for name in ("stream", "reason", "subject_token")]
    rows = [
        {"stream": VITALS, "reason": fact.reason, "subject_token": fact.token, "size_bytes": len(fact.message())}
        | sealed_message(VITALS, fact.key(), fact.message(), fact.token, fact.appended_ms)
        | _place(fact, offsets)
        for fact in told
        if fact.fate == "reject"
    ]
    payload = [("sealed_payload", pa.binary()), ("sealed_under", pa.string())]
    return pa.Table.from_pylist(rows, pa.schema([*columns, *payload, ("size_bytes", pa.int32()), *_PLACE]))


def _duplicate_rows(told: list[Fact], offsets: dict[int, int]) -> pa.Table:
    columns = [(name, pa.string()) for name in ("stream", "event_id", "subject_token")]
    rows = [
        {"stream": VITALS, "event_id": fact.event_id, "subject_token": fact.token}
        | {"first_offset": offsets[fact.repeats]}
        | _place(fact, offsets)
        for fact in told
        if fact.repeats is not None
    ]
    return pa.Table.from_pylist(rows, pa.schema([*columns, ("first_offset", pa.int64()), *_PLACE]))


def _alert_stream(
    name: str,
    decided: list[offline.Decided],
    persons: dict[str, str],
    readings: dict[tuple[int, int], Fact],
    said: dict[str, tuple[int, float]],
) -> Stream:
    """`said`: of alerts on scores when they were decided, and the score."""
    values = [
        _alert(d, persons[d.subject_token], readings[d.partition, d.offset], *said.get(d.alert_id, ())) for d in decided
    ]
    keys = [persons[decision.subject_token].encode() for decision in decided]
    count = len(decided)
    appended_us = np.arange(count, dtype=np.int64) * 1_000_000 + (START_MS + 10_000_000) * 1000
    log = log_table([0] * count, range(count), appended_us, keys, values, read_alerts)
    return Stream(name, TOPIC_IDS[name], _ends(log), log)


def _alert(
    decision: offline.Decided, person: str, reading: Fact, processed_ms: int | None = None, score: float | None = None
) -> bytes:
    appended_ms = reading.appended_ms
    processed_ms = processed_ms or appended_ms + 20
    times = {
        "device": iso(reading.event_ms), "received": None, "appended": iso(appended_ms),
        "effective": iso(decision.clock_ms), "processed": iso(processed_ms), "alerted": iso(processed_ms + 5),
    }  # fmt: skip
    message = {
        "model": None, "ward": "ICU-1", "bed": None, "code": reading.code, "score": score,
        "value": None if isinstance(reading.value, str) else reading.value,
        "score_is_lower_bound": True, "reasons": ["one", "another"], "missing": ["bed"], "late": False,
        "evidence": _EVIDENCE.get(decision.alert_id),
        "retracts": decision.retracts, "times": times,
        "alert_id": decision.alert_id, "rule": decision.rule, "rule_version": offline.VERSION, "severity": "urgent",
        "level": decision.level, "subject_token": decision.subject_token,
        "patient": {"patient_id": person, "birth_date": "1950-12-31"},
        "episode_start": iso(decision.episode_start_ms), "expires_at": iso(appended_ms + 900_000),
        "withheld_because": decision.withheld_because,
        "source": {"topic_id": TOPIC_IDS[VITALS], "partition": decision.partition, "offset": decision.offset},
    }  # fmt: skip
    return json.dumps(message).encode()


def _score_stream(
    scored: list[ScoreTold], persons: dict[str, str], newest: dict[tuple[str, int], tuple[int, int]]
) -> Stream:
    values = []
    for each in scored:
        partition, offset = newest[each.score.token, each.at_ms]
        source = {"topic_id": TOPIC_IDS[VITALS], "partition": partition, "offset": offset}
        values.append(message(each, persons[each.score.token], source, iso))
    keys = [persons[each.score.token].encode() for each in scored]
    appended_us = np.array([each.at_ms * 1000 + 30_000 for each in scored], np.int64)
    log = log_table([0] * len(scored), range(len(scored)), appended_us, keys, values, read_scores)
    return Stream(SCORES, TOPIC_IDS[SCORES], _ends(log), log)


def _told_rows(stream: Stream, schema: pa.Schema) -> pa.Table:
    log = stream.log
    columns = {name: log[name] for name in schema.names if name not in ("fault", "patient_id", "told_birth_year")}
    place = {
        "topic_id": pa.array([stream.topic_id] * len(log), pa.string()),
        "kafka_partition": log["partition"],
        "kafka_offset": log["offset"],
        "kafka_time": log["appended"],
    }
    return pa.table({**columns, **place})


def _ledger(told: list[Fact], offsets: dict[int, int]) -> Ledger:
    rows = [
        {
            "stream": VITALS, "event_id": fact.event_id, "patient": fact.person, "kind": "reading", "fate": fact.fate,
            "reason": fact.reason, "digest": hashlib.sha256(fact.message()).digest(), "result": "ok",
            "partition": fact.partition, "offset": offsets[fact.number],
        }
        for fact in told
    ]  # fmt: skip
    rows += [
        {
            "stream": other.stream, "event_id": other.event_id, "patient": other.person, "kind": "message",
            "fate": other.fate, "reason": other.reason, "digest": hashlib.sha256(other.message()).digest(),
            "result": "ok", "partition": other.partition, "offset": other.offset,
        }
        for others in told_by_stream().values()
        for other in others
    ]  # fmt: skip
    plain = pa.schema([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SENT_SCHEMA])
    sent = pa.Table.from_pylist(rows, plain)
    return Ledger({"expected_alerts": []}, encoded(sent), True)


def _other_stream(name: str, told: list[Told]) -> Stream:
    appended_us = np.array([each.appended_ms * 1000 for each in told])
    places = [each.partition for each in told], [each.offset for each in told]
    raw = [each.key() for each in told], [each.message() for each in told]
    log = log_table(*places, appended_us, *raw, READERS[name])
    log = log.sort_by([("partition", "ascending"), ("offset", "ascending")])
    return Stream(name, TOPIC_IDS[name], _ends(log), log)


def _other_place(told: Told) -> dict[str, Any]:
    return {
        "topic_id": TOPIC_IDS[told.stream],
        "kafka_partition": told.partition,
        "kafka_offset": told.offset,
        "kafka_time": told.appended_ms * 1000,
    }


def _other_rows(name: str, told: list[Told]) -> pa.Table:
    rows = [each.row() | _other_place(each) for each in told if each.fate == "row"]
    return pa.Table.from_pylist(rows, pa.schema([*row_columns(name), *_PLACE]))


def _other_rejects(told: list[Told], schema: pa.Schema) -> pa.Table:
    rows = [
        {"stream": each.stream, "reason": each.reason, "subject_token": each.token, "size_bytes": len(each.message())}
        | sealed_message(each.stream, each.key(), each.message(), each.token, each.appended_ms)
        | _other_place(each)
        for each in told
        if each.fate == "reject"
    ]
    return pa.Table.from_pylist(rows, schema)


def _other_duplicates(told: list[Told], schema: pa.Schema) -> pa.Table:
    rows = [
        {"stream": each.stream, "event_id": each.event_id, "subject_token": each.token}
        | {"first_offset": told[each.repeats].offset}
        | _other_place(each)
        for each in told
        if each.repeats is not None
    ]
    return pa.Table.from_pylist(rows, schema)


def encoded(sent: pa.Table) -> pa.Table:
    """The sent messages in `SENT_SCHEMA`."""
    columns = [
        sent[field.name].combine_chunks().dictionary_encode()
        if pa.types.is_dictionary(field.type)
        else sent[field.name]
        for field in SENT_SCHEMA
    ]
    return pa.table(columns, schema=SENT_SCHEMA)
