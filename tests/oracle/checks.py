"""What must be true of a history, check by check. Nothing here reads a file, a broker or a lake.

Holds: the checks and how much each found.
Does not hold: how facts are collected; what must be true of alerts (`alert_checks`, `sepsis_alerts`) and scores
(`score_checks`).

Every check returns `Finding`s: under which heading they count, how many, and where the first is found. Places are
positions; no value and no identifier is ever in one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from . import adt_event, lab_result, medication_event, reading
from .alert_checks import check_alerts
from .alert_message import ALERT_SCHEMA
from .findings import Finding, equal, found, of_topic, plain
from .history import (
    ADMISSIONS,
    ALERTS,
    DUPLICATES,
    LABS,
    MEDICATION,
    OWN_TABLE,
    REJECTS,
    SCORES,
    SENT_STREAMS,
    UNJUDGED_STREAMS,
    VITALS,
    WEARABLES,
    WITHHELD,
    History,
    Stream,
    log_positions,
    positions,
    row_positions,
    where_in,
)
from .kafka_log import person_of
from .ledger import FAILED, OK
from .message import said_digest
from .score_checks import check_scores
from .score_message import SCORE_SCHEMA
from .sepsis_alerts import check_sepsis
from .vault import Keys, NotOpened, message_of

NOWHERE, ROW, REJECT, DUPLICATE = range(4)
FORGOTTEN = -1
"""The first offset of a duplicate whose first the product knows to be, and no longer where."""


def check(history: History) -> list[Finding]:
    """Everything that is wrong with a history; an empty list if nothing is."""
    findings = [*_check_readable(history), *_unknown_topics(history)]
    for stream in history.streams.values():
        findings += _check_stream(history, stream)
    findings += [*_check_tokens(history), *_check_copartition(history), *check_sent(history), *_check_fates(history)]
    if VITALS in history.streams:
        findings += _check_summary(history)
    if {VITALS, ALERTS, WITHHELD} <= history.streams.keys():
        findings += check_alerts(history)
    if SCORES in history.streams and history.models:
        findings += check_scores(history)
        if {ALERTS, WITHHELD} <= history.streams.keys():
            findings += check_sepsis(history)
    findings += _check_counts(history)
    return [finding for finding in findings if finding.count]


# ------------------------------------------------------------------------------------------------ one stream's places


class _Placed(NamedTuple):
    """Where the messages of one stream ended: the rows of its three tables, and their index in its log (-1: none)."""

    log: np.ndarray
    rows: pa.Table
    rejects: pa.Table
    duplicates: pa.Table
    row_at: np.ndarray
    reject_at: np.ndarray
    duplicate_at: np.ndarray

    def fates(self) -> np.ndarray:
        """int8[log]: ROW, REJECT, DUPLICATE or NOWHERE for each message; the last told where there are several."""
        fates = np.zeros(len(self.log), np.int8)
        for fate, at in ((ROW, self.row_at), (REJECT, self.reject_at), (DUPLICATE, self.duplicate_at)):
            fates[at[at >= 0]] = fate
        return fates


def _placed(history: History, stream: Stream) -> _Placed:
    log = log_positions(stream.log)
    parts = [of_topic(history.tables[name], stream.topic_id) for name in (OWN_TABLE[stream.name], REJECTS, DUPLICATES)]
    return _Placed(log, *parts, *(where_in(log, row_positions(part)) for part in parts))


def _check_readable(history: History) -> Iterator[Finding]:
    """The files that a table's snapshot names are there."""
    for name, table in history.tables.items():
        yield Finding("lost", int(table.trouble is not None), f"{name}: cannot be read: {table.trouble}")


def _unknown_topics(history: History) -> Iterator[Finding]:
    """Rows that name a topic Kafka does not have."""
    known = {stream.topic_id: OWN_TABLE[stream.name] for stream in history.streams.values()}
    for name, table in history.tables.items():
        if "topic_id" not in table.rows.column_names:
            continue
        owners = [topic for topic, owner in known.items() if name in (owner, REJECTS, DUPLICATES)]
        strange = pc.invert(pc.is_in(table.rows["topic_id"].cast(pa.string()), pa.array(owners, pa.string())))
        if name in (REJECTS, DUPLICATES):
            others = pc.is_in(table.rows["stream"].cast(pa.string()), pa.array(UNJUDGED_STREAMS, pa.string()))
            strange = pc.and_not(strange, others)
        yield found("phantom", strange.to_numpy(), f"{name}: row of a topic that does not feed it")


def _check_stream(history: History, stream: Stream) -> list[Finding]:
    placed = _placed(history, stream)
    return [
        *_check_places(stream, placed),
        *_check_vectors(history, stream),
        *_check_repeats(history, stream, placed),
        *_check_content(stream, placed),
        *_check_rejects(stream, placed),
        *(_check_sealed(history.keys, stream, placed) if history.keys else ()),
    ]


def _check_places(stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """Every position of the log is in exactly one of the three tables, and no table names another position."""
    times = np.zeros(len(placed.log), np.int32)
    for name, rows, at in (
        (OWN_TABLE[stream.name], placed.rows, placed.row_at),
        (REJECTS, placed.rejects, placed.reject_at),
        (DUPLICATES, placed.duplicates, placed.duplicate_at),
    ):
        np.add.at(times, at[at >= 0], 1)
        yield found(
            "phantom", at < 0, f"{stream.name}: {name} names a position Kafka has no message at", row_positions(rows)
        )
    yield found("lost", times == 0, f"{stream.name}: message in no table", placed.log)
    yield found("doubled", times > 1, f"{stream.name}: message in more than one place", placed.log)


def _check_vectors(history: History, stream: Stream) -> Iterator[Finding]:
    """Each table the topic feeds says that it has read to the end, partition by partition."""
    wanted = {partition: high for partition, (_, high) in stream.ends.items()}
    for name in (OWN_TABLE[stream.name], REJECTS, DUPLICATES):
        vector = history.tables[name].vector.get(stream.topic_id, {})
        wrong = [p for p in wanted.keys() | vector.keys() if wanted.get(p) != vector.get(p)]
        where = f"partition {min(wrong)}" if wrong else ""
        yield Finding("holes", len(wrong), f"{stream.name}: vector of {name} is not the topic's end", where)


def _check_repeats(history: History, stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """No event twice among the rows within the horizon; what is called a duplicate has an earlier first."""
    first, repeated = _repetitions(history, stream)
    fates = placed.fates()
    yield found("doubled", repeated & (fates == ROW), f"{stream.name}: event a second time among the rows", placed.log)
    at = placed.duplicate_at
    known = at >= 0
    first_of = np.where(known, first[at], -1) if len(first) else np.full(len(at), -1)
    log_offset = stream.log["offset"].to_numpy()
    told = placed.duplicates["first_offset"].to_numpy()
    wrong = known & ((first_of < 0) | (first_of == at))
    right_first = np.zeros(len(at), bool)
    right_first[known & ~wrong] = log_offset[first_of[known & ~wrong]] == told[known & ~wrong]
    right_first |= told == FORGOTTEN
    yield found(
        "misjudged", wrong, f"{stream.name}: called a duplicate, but is the first", row_positions(placed.duplicates)
    )
    yield found(
        "misattributed", known & ~wrong & ~right_first, f"{stream.name}: duplicate of another event than told",
        row_positions(placed.duplicates),
    )  # fmt: skip


def _repetitions(history: History, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """For each message of the log: index of the first valid message of its event in its partition (-1: not valid),
    and whether it repeats that one within the horizon."""
    log = stream.log
    valid = pc.is_null(log["fault"]).to_numpy()
    first = np.full(len(log), -1, np.int64)
    if not valid.any():
        return first, np.zeros(len(log), bool)
    at = np.flatnonzero(valid)
    events = log[_event_column(stream)].combine_chunks().dictionary_encode().indices
    number = pc.fill_null(events, -1).to_numpy()[at].astype(np.int64)
    number |= log["partition"].to_numpy()[at].astype(np.int64) << 40
    _, firsts, inverse = np.unique(number, return_index=True, return_inverse=True)
    first[at] = at[firsts[inverse]]
    appended = log["appended"].cast(pa.int64()).to_numpy()
    within = appended - appended[np.maximum(first, 0)] <= history.horizon_of(stream.name)
    return first, valid & (first != np.arange(len(log))) & within


def _event_column(stream: Stream) -> str:
    return {SCORES: "score_id", ALERTS: "alert_id", WITHHELD: "alert_id"}.get(stream.name, "event_id")


# ------------------------------------------------------------------------------------------------------------- content

_NOT_IN_ROWS = ("fault", "patient_id", "told_birth_year", "withheld_because", "unknown_size", "unknown_digest")


def _columns_of(schema: pa.Schema) -> tuple[str, ...]:
    return tuple(name for name in schema.names if name not in _NOT_IN_ROWS)


_SAME = {
    VITALS: _columns_of(reading.ROW_SCHEMA),
    WEARABLES: _columns_of(reading.ROW_SCHEMA),
    LABS: _columns_of(lab_result.ROW_SCHEMA),
    ADMISSIONS: _columns_of(adt_event.ROW_SCHEMA),
    MEDICATION: _columns_of(medication_event.ROW_SCHEMA),
    ALERTS: _columns_of(ALERT_SCHEMA),
    WITHHELD: (*_columns_of(ALERT_SCHEMA), "withheld_because"),
    SCORES: _columns_of(SCORE_SCHEMA),
}


def _check_content(stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """A row says what the message at its position says, and who has no patient has no token."""
    at = placed.row_at
    rows = placed.rows.filter(pa.array(at >= 0))
    said = stream.log.take(pa.array(at[at >= 0]))
    where = row_positions(rows)
    yield found("misattributed", ~equal(rows["kafka_time"], said["appended"]), f"{stream.name}: kafka_time", where)
    yield found("misjudged", pc.is_valid(said["fault"]).to_numpy(), f"{stream.name}: row of a faulty message", where)
    for name in _SAME[stream.name]:
        yield found(
            "misattributed", ~equal(rows[name], said[name]), f"{stream.name}: {name} is not the message's", where
        )
    if stream.name in SENT_STREAMS:
        yield from _check_unknown_fields(stream.name, rows, said)
    for name, part, part_at in (
        (REJECTS, placed.rejects, placed.reject_at),
        (DUPLICATES, placed.duplicates, placed.duplicate_at),
    ):
        known = part.filter(pa.array(part_at >= 0))
        appended = stream.log["appended"].take(pa.array(part_at[part_at >= 0]))
        yield found("misattributed", ~equal(known["kafka_time"], appended), f"{stream.name}: kafka_time in {name}")
        of_stream = pa.chunked_array([pa.array([stream.name] * len(known), pa.string())])
        yield found("misattributed", ~equal(known["stream"], of_stream), f"{stream.name}: stream in {name}")
    said = stream.log.take(pa.array(placed.duplicate_at[placed.duplicate_at >= 0]))
    told = placed.duplicates.filter(pa.array(placed.duplicate_at >= 0))["event_id"]
    yield found("misattributed", ~equal(told, said[_event_column(stream)]), f"{stream.name}: event id of a duplicate")
    yield from _check_absent_tokens(stream, placed)


SEALING = 28
"""Bytes that AES-256-GCM adds: a nonce of twelve before, a tag of sixteen behind."""


def _check_unknown_fields(name: str, rows: pa.Table, said: pa.Table) -> Iterator[Finding]:
    """What the contract does not know of a message is in its row, sealed for whose it is, and nowhere else."""
    size = pc.subtract(pc.binary_length(rows["unknown_fields"].cast(pa.binary())), SEALING)
    where = row_positions(rows)
    told = said["unknown_size"].cast(pa.int32())
    yield found("misattributed", ~equal(size.cast(pa.int32()), told), f"{name}: fields that nobody knows", where)
    days = pc.binary_join_element_wise("day:", pc.strftime(rows["kafka_time"], "%Y-%m-%d"), "")
    owner = pc.if_else(pc.is_valid(plain(said["person"])), "person", days)
    under = pc.if_else(pc.is_valid(told), owner, pa.scalar(None, pa.string()))
    wrong = ~equal(rows["unknown_sealed_under"], under)
    yield found("misattributed", wrong, f"{name}: whose key seals the fields that nobody knows", where)


def _check_sealed(keys: Keys, stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """What is sealed opens by the key of whose it is, and is what the message at its position says."""
    if stream.name in SENT_STREAMS:
        fields = _sealed_cells(placed.rows, "unknown_fields", "unknown_sealed_under")
        told = _of_log(stream, "unknown_digest", placed.row_at)
        wrong = [not _says(keys, stream.name, cell, digest) for cell, digest in zip(fields, told, strict=True)]
        what = f"{stream.name}: sealed fields that nobody knows are not the message's"
        yield found("misattributed", np.array(wrong, bool), what, row_positions(placed.rows))
    messages = _sealed_cells(placed.rejects, "sealed_payload", "sealed_under")
    told = zip(*(_of_log(stream, name, placed.reject_at) for name in ("person", "digest")), strict=True)
    wrong = [not _is_message(keys, stream.name, *each) for each in zip(messages, told, strict=True)]
    what = f"{stream.name}: the sealed message of a reject is not the one rejected"
    yield found("misattributed", np.array(wrong, bool), what, row_positions(placed.rejects))


_Cell = tuple[bytes | None, str | None, str | None]
"""What is sealed, whose key seals it, and the row's token."""


def _sealed_cells(rows: pa.Table, column: str, under: str) -> Iterator[_Cell]:
    return zip(*(rows[name].to_pylist() for name in (column, under, "subject_token")), strict=True)


def _of_log(stream: Stream, name: str, at: np.ndarray) -> list:
    """A column of the log at these places; None where a row is of no message, which is told elsewhere."""
    return stream.log[name].take(pa.array(at, pa.int64(), mask=at < 0)).to_pylist()


def _says(keys: Keys, stream: str, cell: _Cell, digest: bytes | None) -> bool:
    sealed, under, token = cell
    if sealed is None or under is None:
        return digest is None
    try:
        opened = keys.opened(stream, "unknown_fields", sealed, under, token)
        return opened is None or said_digest(json.loads(opened)) == digest
    except (NotOpened, ValueError):
        return False


def _is_message(keys: Keys, stream: str, cell: _Cell, told: tuple[str | None, bytes | None]) -> bool:
    sealed, under, token = cell
    person, digest = told
    if digest is None:
        return True
    try:
        opened = keys.opened(stream, "sealed_payload", sealed or b"", under or "", token)
        key, value = (None, digest) if opened is None else message_of(opened)
    except NotOpened:
        return False
    return value == digest and (opened is None or person_of(key) == person)


def _check_absent_tokens(stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """A patient has a token, a device has none; a reject may leave it out where whose it is is in doubt."""
    for rows, at, may_be_absent in (
        (placed.rows, placed.row_at, False),
        (placed.rejects, placed.reject_at, True),
        (placed.duplicates, placed.duplicate_at, False),
    ):
        tokens, persons = _tokens_and_persons(stream, rows, at)
        absent, nobody = pc.is_null(tokens).to_numpy(), pc.is_null(persons).to_numpy()
        bad = (~absent & nobody) if may_be_absent else (absent != nobody)
        yield found("misattributed", bad, f"{stream.name}: token without a patient, or patient without a token")


def _tokens_and_persons(stream: Stream, rows: pa.Table, at: np.ndarray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """The tokens of a table's rows and the patients of their messages' keys."""
    tokens = plain(rows["subject_token"]).filter(pa.array(at >= 0))
    return tokens, plain(stream.log["person"]).take(pa.array(at[at >= 0]))


def _check_tokens(history: History) -> Iterator[Finding]:
    """One token a patient, one patient a token, in rows, rejects and duplicates of all streams together."""
    pairs = []
    for stream in history.streams.values():
        if OWN_TABLE[stream.name] in history.tables:
            placed = _placed(history, stream)
            for rows, at in (
                (placed.rows, placed.row_at),
                (placed.rejects, placed.reject_at),
                (placed.duplicates, placed.duplicate_at),
            ):
                tokens, persons = _tokens_and_persons(stream, rows, at)
                pair = pa.table({"token": tokens, "person": persons}).drop_null()
                pairs.append(pair.group_by(["token", "person"]).aggregate([]))
    if not pairs:
        return
    distinct = pa.concat_tables(pairs).group_by(["token", "person"]).aggregate([])
    for name, what in (("token", "one token for several patients"), ("person", "several tokens for one patient")):
        yield Finding("misattributed", len(distinct) - len(distinct[name].unique()), what)


def _check_copartition(history: History) -> Iterator[Finding]:
    """A patient has the same partition in every stream that the outside world sends."""
    streams = [stream for name, stream in history.streams.items() if name in SENT_STREAMS]
    pairs = [
        pa.table({"person": plain(stream.log["person"]), "partition": stream.log["partition"]}).drop_null()
        for stream in streams
    ]
    if len(pairs) > 1:
        distinct = pa.concat_tables(pairs).group_by(["person", "partition"]).aggregate([])
        surplus = len(distinct) - len(distinct["person"].unique())
        yield Finding("disordered", surplus, "one patient in different partitions of different streams")


def _check_rejects(stream: Stream, placed: _Placed) -> Iterator[Finding]:
    """What is rejected is faulty, what is faulty is rejected, and a reject names its size."""
    faulty = pc.is_valid(stream.log["fault"]).to_numpy()
    fates = placed.fates()
    yield found("misjudged", (fates == REJECT) & ~faulty, f"{stream.name}: right message rejected", placed.log)
    yield found("misjudged", (fates == DUPLICATE) & faulty, f"{stream.name}: faulty message as duplicate", placed.log)
    at = placed.reject_at
    known = placed.rejects.filter(pa.array(at >= 0))
    sizes = stream.log["size"].take(pa.array(at[at >= 0]))
    bad = known["size_bytes"].to_numpy() != sizes.to_numpy()
    yield found("misattributed", bad, f"{stream.name}: size of a reject", row_positions(known))


# ----------------------------------------------------------------------------------------- the ledger against the log


def check_sent(history: History) -> list[Finding]:
    """Everything sent is in Kafka and nothing else is: ledgers against the logs alone, without any lake."""
    if not history.ledgers:
        return []
    sent_streams = [stream for name, stream in history.streams.items() if name in SENT_STREAMS]
    findings = [finding for stream in sent_streams for finding in _check_sent_to(history, stream)]
    return [finding for finding in findings if finding.count]


def _check_sent_to(history: History, stream: Stream) -> list[Finding]:
    log = log_positions(stream.log)
    sent, at = _sent_at(history, stream)
    result = plain(sent["result"])
    nobodys = np.ones(len(log), bool)
    nobodys[at[at >= 0]] = False
    name = stream.name
    return [
        found("lost", pc.equal(result, OK).to_numpy() & (at < 0), f"{name}: acknowledged by Kafka, but not in it"),
        found(
            "phantom", pc.equal(result, FAILED).to_numpy() & (at >= 0), f"{name}: in Kafka though its sending failed"
        ),
        found("phantom", nobodys, f"{name}: in Kafka, but in no ledger", log),
        *_check_bytes(stream, *_arrived(sent, at)),
        *_check_order(name, *_arrived(sent, at), log),
    ]


def _sent_at(history: History, stream: Stream) -> tuple[pa.Table, np.ndarray]:
    """All ledgers' messages of a stream, and the index of each in its log (-1: not there)."""
    sent = pa.concat_tables([ledger.sent for ledger in history.ledgers]).unify_dictionaries()
    sent = sent.filter(pc.equal(plain(sent["stream"]), stream.name)).combine_chunks()
    return sent, _resolve(sent, stream, log_positions(stream.log))


def _arrived(sent: pa.Table, at: np.ndarray) -> tuple[pa.Table, np.ndarray]:
    return sent.filter(pa.array(at >= 0)), at[at >= 0]


def _check_bytes(stream: Stream, sent: pa.Table, at: np.ndarray) -> Iterator[Finding]:
    where = log_positions(stream.log)[at]
    same = pc.equal(sent["digest"], stream.log["digest"].take(pa.array(at))).to_numpy()
    yield found("misattributed", ~same, f"{stream.name}: Kafka has other bytes than were sent", where)
    same = equal(sent["patient"], stream.log["person"].take(pa.array(at)))
    yield found("misattributed", ~same, f"{stream.name}: Kafka has another key than was sent", where)


def _resolve(sent: pa.Table, stream: Stream, log: np.ndarray) -> np.ndarray:
    """int64[sent]: index in the log of each message; sendings of unknown end are looked up by their bytes."""
    named = sent["partition"].to_numpy() >= 0
    at = np.where(named, where_in(log, positions(sent["partition"], sent["offset"])), -1)
    unknown = np.flatnonzero(pc.equal(plain(sent["result"]), "unknown").to_numpy() & ~named)
    if not len(unknown):
        return at
    free = np.ones(len(log), bool)
    free[at[at >= 0]] = False
    waiting: dict[bytes, list[int]] = {}
    digests = stream.log["digest"].take(pa.array(np.flatnonzero(free))).to_pylist()
    for index, digest in zip(np.flatnonzero(free).tolist(), digests, strict=True):
        waiting.setdefault(digest, []).append(index)
    for index, digest in zip(unknown.tolist(), sent["digest"].take(pa.array(unknown)).to_pylist(), strict=True):
        if waiting.get(digest):
            at[index] = waiting[digest].pop(0)
    return at


def _check_fates(history: History) -> Iterator[Finding]:
    """Row, reject for the reason told, or duplicate. Which of two equal messages is the first only Kafka decides."""
    if history.ledgers:
        for name, stream in history.streams.items():
            if name in SENT_STREAMS:
                yield from _check_fates_of(history, stream)


def _check_fates_of(history: History, stream: Stream) -> Iterator[Finding]:
    sent, at = _arrived(*_sent_at(history, stream))
    placed = _placed(history, stream)
    fates, log = placed.fates()[at], placed.log[at]
    must_reject = pc.equal(plain(sent["fate"]), "reject").to_numpy()
    yield found(
        "misjudged", must_reject & (fates != REJECT) & (fates != NOWHERE), f"{stream.name}: was to be rejected", log
    )
    yield found("misjudged", ~must_reject & (fates == REJECT), f"{stream.name}: was not to be rejected", log)
    _, repeated = _repetitions(history, stream)
    yield found(
        "misjudged",
        ~must_reject & (fates == DUPLICATE) & ~repeated[at],
        f"{stream.name}: was not to be a duplicate",
        log,
    )
    reasons = np.full(len(placed.log), -1, np.int64)
    known = placed.reject_at >= 0
    words = pc.unique(pa.concat_arrays([_whole(placed.rejects["reason"]), _whole(sent["reason"])])).drop_null()
    reasons[placed.reject_at[known]] = pc.index_in(plain(placed.rejects["reason"]), words).to_numpy()[known]
    told = pc.fill_null(pc.index_in(plain(sent["reason"]), words), -1).to_numpy()
    yield found(
        "misjudged",
        (fates == REJECT) & must_reject & (reasons[at] != told),
        f"{stream.name}: rejected for another reason",
        log,
    )


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return plain(column).combine_chunks()


def _check_order(name: str, sent: pa.Table, at: np.ndarray, log: np.ndarray) -> Iterator[Finding]:
    """A patient's messages stand in one partition and in the order of their sending."""
    patient = pc.fill_null(sent["patient"].combine_chunks().indices, -1).to_numpy()
    mine = np.flatnonzero(patient >= 0)
    order = mine[np.argsort(patient[mine], kind="stable")]
    same = np.diff(patient[order]) == 0
    place = log[at[order]]
    yield found("disordered", same & (np.diff(place) <= 0), f"{name}: one patient's messages out of order", place[1:])
    yield found("disordered", same & (np.diff(place >> 48) != 0), f"{name}: one patient in two partitions", place[1:])


def _check_summary(history: History) -> Iterator[Finding]:
    """`gen.py`'s ledger: how many of each, and the fingerprints of the distinct valid records."""
    told = history.summary
    if told is None:
        return
    placed = _placed(history, history.streams[VITALS])
    counts = (
        ("messages in Kafka", len(placed.log), told.messages),
        ("rows", len(placed.rows), told.distinct),
        ("rejects", len(placed.rejects), told.malformed),
        ("duplicates", len(placed.duplicates), told.duplicates),
    )
    for what, there, wanted in counts:
        yield Finding("lost" if there < wanted else "phantom", abs(there - wanted), f"{what}: {there}, sent {wanted}")
    seq = pc.sum(placed.rows["seq"]).as_py() or 0
    yield Finding("misattributed", int(seq != told.sum_seq), "sum of seq over the rows")
    yield Finding("misattributed", int(_xor_of_ids(placed.rows["event_id"]) != told.xor_id), "fingerprint of event ids")


def _xor_of_ids(ids: pa.ChunkedArray) -> int:
    """Exclusive or of the first 64 bits of ids in the form of UUIDs."""
    total = 0
    for chunk in ids.chunks:
        words = pc.utf8_slice_codeunits(pc.replace_substring(chunk, "-", ""), 0, 16)
        for word in words.to_pylist():
            total ^= int(word, 16)
    return total


# -------------------------------------------------------------------------------------------------------------- counts


def _check_counts(history: History) -> Iterator[Finding]:
    """DuckDB counts what pyiceberg reads."""
    for name, table in history.tables.items():
        difference = abs(table.duckdb_count - len(table.rows))
        yield Finding("miscounted", difference, f"{name}: DuckDB {table.duckdb_count}, pyiceberg {len(table.rows)}")
