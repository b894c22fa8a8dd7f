"""The checker is checked: a history without fault passes, and one with a single thing wrong does not.

Imports nothing of the product, like the oracle itself.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from . import alerts as offline
from . import checks
from .findings import Finding
from .history import (
    ADMISSIONS,
    ALERTS,
    DUPLICATES,
    LABS,
    MEDICATION,
    OWN_TABLE,
    REJECTS,
    SENT_STREAMS,
    VITALS,
    WEARABLES,
    WITHHELD,
    History,
    LakeTable,
    Stream,
)
from .ledger import SENT_SCHEMA, Summary
from .oracle import judge
from .perfect import TOPIC_IDS, perfect_history
from .perfect_streams import sealed_message
from .tampering import change_log as _log
from .tampering import change_rows as _rows
from .tampering import change_sent as _sent
from .tampering import change_table as _table
from .tampering import delay as _later
from .tampering import double as _double
from .tampering import drop as _drop
from .tampering import move_vector as _vector
from .tampering import put as _set
from .tampering import retell as _retold
from .tampering import swap as _swap
from .vault import Keys

CheckOfStream = Callable[[History, Stream], Iterable[Finding]]


@pytest.fixture(scope="module")
def perfect() -> Iterator[History]:
    made = perfect_history()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_check_stream", "_check_fates_of", "_check_sent_to"):
            patch.setattr(checks, name, _once_where_perfect(made, getattr(checks, name)))
        yield made


def _once_where_perfect(perfect: History, check: CheckOfStream) -> CheckOfStream:
    """A check that goes through a stream once, as long as that and all that it may be held against are the very objects
    of the perfect history: of the hundreds of histories below each differs from it in one place."""
    known: dict[str, list[Finding]] = {}

    def checked(history: History, stream: Stream) -> list[Finding]:
        names = (OWN_TABLE[stream.name], REJECTS, DUPLICATES)
        pairs = [(history.tables[name], perfect.tables[name]) for name in names]
        pairs += [(stream, perfect.streams.get(stream.name)), (history.ledgers, perfect.ledgers)]
        pairs += [(history.keys, perfect.keys), (history.horizon_us, perfect.horizon_us)]
        if not all(one is other for one, other in pairs):
            return list(check(history, stream))
        if stream.name not in known:
            known[stream.name] = list(check(history, stream))
        return known[stream.name]

    return checked


def test_a_history_without_fault_passes(perfect: History) -> None:
    verdict = judge(perfect)

    assert verdict.passed, verdict.report()
    assert set(verdict.totals.values()) == {0}
    assert verdict.report().splitlines()[-1].startswith("lost=0 doubled=0 phantom=0 misattributed=0")


def test_the_perfect_history_holds_every_kind_of_fate(perfect: History) -> None:
    """Else the tampering below would tamper with nothing."""
    assert all(len(table.rows) for table in perfect.tables.values())
    assert perfect.tables.keys() == {*OWN_TABLE.values(), REJECTS, DUPLICATES}
    for name in (REJECTS, DUPLICATES):
        streams = perfect.tables[name].rows["stream"].to_pylist()
        assert set(streams) >= set(SENT_STREAMS)
    assert perfect.tables["vitals"].rows["subject_token"].null_count
    for stream in (WEARABLES, LABS, ADMISSIONS, MEDICATION):
        sealed = perfect.tables[OWN_TABLE[stream]].rows["unknown_sealed_under"]
        assert 0 < sealed.null_count < len(sealed)


# ------------------------------------------------------------------------------------------------ ways of tampering


def _move(i: int, source: str, target: str) -> Callable[[History], History]:
    """Row i of a table stands in another instead, with what columns that has."""

    def tamper(history: History) -> History:
        row = history.tables[source].rows.slice(i, 1).to_pylist()[0]
        there = history.tables[target].rows.schema
        cells = {"stream": VITALS, "reason": "malformed_json", "size_bytes": 1, "first_offset": 0, "seq": 1, **row}
        moved = pa.Table.from_pylist([{name: cells.get(name) for name in there.names}], there)
        without = _rows(source, _drop(i))(history)
        return _rows(target, lambda rows: pa.concat_tables([rows, moved]))(without)

    return tamper


def _forged_alert(history: History) -> History:
    """An alert of a patient who is well, sent and recorded like any other."""
    token = history.tables["vitals"].rows.filter(pc.equal(history.tables["vitals"].rows["kafka_partition"], 0))
    forged = _set(0, subject_token=token["subject_token"].to_pylist()[1], alert_id="f" * 32)
    return _rows("alerts", forged)(_log(ALERTS, forged)(history))


def _unsent_alert(history: History) -> History:
    """The last alert was never sent: neither topic nor table has it."""
    last = len(history.streams[ALERTS].log) - 1
    stream = history.streams[ALERTS]
    shorter = replace(stream, log=_drop(last)(stream.log), ends={**stream.ends, 0: (0, last)})
    history = replace(history, streams={**history.streams, ALERTS: shorter})
    for name in ("alerts", REJECTS, DUPLICATES):
        history = _vector(name, ALERTS, 0, -1)(history)
    return _rows("alerts", _drop(last))(history)


def _never_arrived(history: History) -> History:
    """Kafka has lost its last message of partition 1, and everything behind it agrees."""
    stream = history.streams[VITALS]
    last = len(stream.log) - 1
    high = stream.ends[1][1]
    shorter = Stream(stream.name, stream.topic_id, {**stream.ends, 1: (0, high - 1)}, _drop(last)(stream.log))
    history = replace(history, streams={**history.streams, VITALS: shorter})
    for name in ("vitals", REJECTS, DUPLICATES):
        history = _vector(name, VITALS, 1, -1)(history)
    rows = history.tables["vitals"].rows
    at = pc.and_(pc.equal(rows["kafka_partition"], 1), pc.equal(rows["kafka_offset"], high - 1))
    return _rows("vitals", lambda rows: rows.filter(pc.invert(at)))(history)


TAMPERINGS = {
    "a row dropped": ("lost", _rows("vitals", _drop(100))),
    "a reject dropped": ("lost", _rows(REJECTS, _drop(0))),
    "a duplicate not recorded": ("lost", _rows(DUPLICATES, _drop(0))),
    "an alert's row dropped": ("lost", _rows("alerts", _drop(0))),
    "an acknowledged message Kafka does not have": ("lost", _never_arrived),
    "a row doubled": ("doubled", _rows("vitals", _double(100))),
    "an event twice, the repetition as a row": ("doubled", _move(0, DUPLICATES, "vitals")),
    "a message in the ledger's stead sent by nobody": ("phantom", _sent(_drop(7))),
    "a message in Kafka whose sending had failed": ("phantom", _sent(_set(30, result="failed"))),
    "a row at a position Kafka does not have": ("phantom", _rows("vitals", _set(3, kafka_offset=99_999))),
    "a row of another topic": ("phantom", _rows("vitals", _set(3, topic_id="topic-of-yesterday"))),
    "two rows' values swapped": ("misattributed", _rows("vitals", _swap(30, 33, "numeric_value"))),
    "two rows' positions swapped": ("misattributed", _rows("vitals", _swap(30, 33, "kafka_offset"))),
    "two rows' patients swapped": ("misattributed", _rows("vitals", _swap(30, 31, "subject_token"))),
    "a token lost": ("misattributed", _rows("vitals", _set(30, subject_token=None))),
    "a new token for one reading": ("misattributed", _rows("vitals", _set(30, subject_token="x" * 26))),
    "a value slightly off": ("misattributed", _rows("vitals", _set(30, numeric_value=72.0001))),
    "a temperature not converted": ("misattributed", _rows("vitals", _set(43, numeric_value=98.6))),
    "another unit": ("misattributed", _rows("vitals", _set(30, unit="%"))),
    "one byte of a ward flipped": ("misattributed", _rows("vitals", _set(30, ward="ICU-0"))),
    "another event id": ("misattributed", _rows("vitals", _set(30, event_id="30a"))),
    "an event backdated": ("misattributed", _rows("vitals", _later(30, "event_time", -60_000_000))),
    "Kafka's time a millisecond off": ("misattributed", _rows("vitals", _later(30, "kafka_time", 1_000))),
    "a reading flagged for nothing": ("misattributed", _rows("vitals", _set(30, quality_flag="out_of_range"))),
    "one byte flipped on the way to Kafka": ("misattributed", _sent(_set(30, digest=b"\0" * 32))),
    "a duplicate of another event than told": ("misattributed", _rows(DUPLICATES, _set(0, first_offset=1))),
    "a reject's Kafka time off": ("misattributed", _rows(REJECTS, _later(0, "kafka_time", 1_000))),
    "a message under another patient's key": ("misattributed", _sent(_set(30, patient="P000009"))),
    "a reject's size wrong": ("misattributed", _rows(REJECTS, _set(0, size_bytes=49))),
    "an alert that names another patient": ("misattributed", _log(ALERTS, _set(0, patient_id="P000002"))),
    "an alert with another's date of birth": ("misattributed", _log(ALERTS, _set(0, told_birth_year=1951))),
    "an alert with another's bed": ("misattributed", _log(ALERTS, _set(0, bed="99"))),
    "another reason": ("misjudged", _rows(REJECTS, _set(0, reason="unknown_unit"))),
    "a right message rejected": ("misjudged", _move(200, "vitals", REJECTS)),
    "a faulty message among the rows": ("misjudged", _move(0, REJECTS, "vitals")),
    "a faulty message called a duplicate": ("misjudged", _move(0, REJECTS, DUPLICATES)),
    "a first reading called a duplicate": ("misjudged", _move(200, "vitals", DUPLICATES)),
    "two messages of one patient exchanged": ("disordered", _sent(_swap(30, 33, *SENT_SCHEMA.names))),
    "one patient in two partitions": ("disordered", _sent(_set(30, patient="P000002"))),
    "a hole in a vector": ("holes", _vector("vitals", VITALS, 1, -1)),
    "the rejects' vector behind": ("holes", _vector(REJECTS, VITALS, 0, -1)),
    "a vector ahead of the topic": ("holes", _vector(DUPLICATES, ALERTS, 0, 1)),
    "DuckDB counts otherwise": ("miscounted", lambda h: _table(h, "vitals", lambda t: replace(t, duckdb_count=1))),
    "an alert about a reading nobody made": ("alerts_forged", _log(ALERTS, _set(0, source_offset=99_999))),
    "a forged alert": ("alerts_forged", _forged_alert),
    "an alert never sent": ("alerts_missing", _unsent_alert),
    "an alert of another episode": ("alerts_forged", _log(ALERTS, _later(0, "episode_start", 1_000))),
    "a withheld alert never recorded": ("alerts_missing", _log(WITHHELD, _drop(0))),
    "withheld as expired without having expired": (
        "alerts_missing",
        _log(WITHHELD, _set(0, withheld_because="expired")),
    ),
}


def _told_twice(recorded: str) -> Callable[[History], History]:
    """The first alert stands on its topic twice; the repetition is a row, or else in the duplicates' log."""

    def tamper(history: History) -> History:
        stream = history.streams[ALERTS]
        at = len(stream.log)
        again = _set(0, offset=at)(stream.log.slice(0, 1))
        longer = replace(stream, log=pa.concat_tables([stream.log, again]), ends={**stream.ends, 0: (0, at + 1)})
        history = replace(history, streams={**history.streams, ALERTS: longer})
        for name in ("alerts", REJECTS, DUPLICATES):
            history = _vector(name, ALERTS, 0, 1)(history)
        row = _set(0, kafka_offset=at)(history.tables["alerts"].rows.slice(0, 1)).to_pylist()[0]
        there = history.tables[recorded].rows.schema
        cells = {"stream": ALERTS, "event_id": row["alert_id"], "first_offset": 0, **row}
        added = pa.Table.from_pylist([{name: cells[name] for name in there.names}], there)
        return _rows(recorded, lambda rows: pa.concat_tables([rows, added]))(history)

    return tamper


def _without_topic(name: str, stream: str) -> Callable[[History], History]:
    """A table's vector does not know the topic at all."""

    def change(table: LakeTable) -> LakeTable:
        return replace(table, vector={topic: v for topic, v in table.vector.items() if topic != TOPIC_IDS[stream]})

    return lambda history: _table(history, name, change)


def _without_partition(name: str, stream: str) -> Callable[[History], History]:
    """A table's vector does not know one partition of the topic."""

    def change(table: LakeTable) -> LakeTable:
        rest = {p: n for p, n in table.vector[TOPIC_IDS[stream]].items() if p != 0}
        return replace(table, vector={**table.vector, TOPIC_IDS[stream]: rest})

    return lambda history: _table(history, name, change)


FED: dict[str, tuple[str, ...]] = {table: (stream,) for stream, table in OWN_TABLE.items()}
FED |= dict.fromkeys((REJECTS, DUPLICATES), tuple(OWN_TABLE))
A_BYTE = {
    "wearables": {"device_id": "CGM-2"},
    "labs": {"order_id": "L-O"},
    "adt_events": {"bed": "O1"},
    "medication_events": {"route": "lV"},
    "vitals": {"event_id": "30?"},
    "alerts": {"reasons": ["one", "anather"]},
    "alerts_withheld": {"withheld_because": "cool_dowm"},
    "scores": {"reasons": ["onf"]},
    REJECTS: {"reason": "malformed_jsom"},
    DUPLICATES: {"event_id": "38?"},
}


def _unlike(rows: pa.Table) -> tuple[int, int]:
    """Two rows of different patients, positions and times."""
    tokens = rows["subject_token"].to_pylist()
    return 0, next(n for n, token in enumerate(tokens) if None not in (token, tokens[0]) and token != tokens[0])


def _each_place() -> dict[str, tuple[str, Callable[[History], History]]]:
    """Every way of tampering, at every place where messages end."""
    ways: dict[str, tuple[str, Callable[[History], History]]] = {}
    for name, streams in FED.items():
        ways |= {
            f"{name}: a row dropped": ("lost", _rows(name, _drop(1))),
            f"{name}: a row doubled": ("doubled", _rows(name, _double(1))),
            f"{name}: two rows' positions swapped": ("misattributed", _rows(name, _swap(0, 2, "kafka_offset"))),
            f"{name}: backdated": ("misattributed", _rows(name, _later(1, "kafka_time", -60_000_000))),
            f"{name}: a position nobody wrote": ("phantom", _rows(name, _set(1, kafka_offset=99_999))),
            f"{name}: counted otherwise": (
                "miscounted",
                lambda h, name=name: _table(h, name, lambda t: replace(t, duckdb_count=t.duckdb_count - 1)),
            ),
            f"{name}: cannot be read": (
                "lost",
                lambda h, name=name: _table(h, name, lambda t: replace(t, trouble="FileNotFoundError")),
            ),
        }
        heading = "misjudged" if name == REJECTS else "misattributed"
        ways[f"{name}: a byte flipped"] = (heading, _rows(name, _set(1, **A_BYTE[name])))
        for stream in streams:
            ways |= {
                f"{name}: a hole for {stream}": ("holes", _vector(name, stream, 0, -1)),
                f"{name}: ahead of {stream}": ("holes", _vector(name, stream, 0, 1)),
                f"{name}: a partition of {stream} unknown": ("holes", _without_partition(name, stream)),
                f"{name}: {stream} unknown": ("holes", _without_topic(name, stream)),
            }
    for name in (REJECTS, DUPLICATES):
        ways[f"{name}: two rows' patients swapped"] = (
            "misattributed",
            _rows(name, lambda rows: _swap(*_unlike(rows), "subject_token")(rows)),
        )
        ways[f"{name}: under another stream"] = ("misattributed", _rows(name, _set(1, stream=ALERTS)))
    return ways | _each_alert_topic()


def _each_alert_topic() -> dict[str, tuple[str, Callable[[History], History]]]:
    """Every way of tampering with the alerts' topics in Kafka, where the rows in the lake stay as they were."""
    ways: dict[str, tuple[str, Callable[[History], History]]] = {}
    for stream in (ALERTS, WITHHELD):
        ways |= {
            f"{stream}: dropped": ("alerts_missing", _log(stream, _drop(1))),
            f"{stream}: swapped": ("misattributed", _log(stream, _swap(0, 1, "alert_id", "rule", "reasons"))),
            f"{stream}: a byte of the id flipped": ("alerts_forged", _log(stream, _set(1, alert_id="f" * 32))),
            f"{stream}: another level": ("alerts_forged", _log(stream, _set(1, level=9))),
            f"{stream}: another patient's token": ("alerts_forged", _log(stream, _set(1, subject_token="x" * 26))),
            f"{stream}: under another key": ("misattributed", _log(stream, _set(1, person="P000002"))),
            f"{stream}: another source": ("alerts_forged", _log(stream, _set(1, source_offset=3))),
            f"{stream}: another ward": ("misattributed", _log(stream, _set(1, ward="ICU-9"))),
        }
        for time in ("device_time", "appended_at", "expires_at"):
            ways[f"{stream}: {time} backdated"] = ("misattributed", _log(stream, _later(1, time, -1_000)))
        for time in ("episode_start", "effective_at"):
            ways[f"{stream}: {time} backdated"] = ("alerts_forged", _log(stream, _later(1, time, -1_000)))
    return ways | {"an alert told twice, and twice a row": ("doubled", _told_twice("alerts"))}


TAMPERINGS |= _each_place()
TAMPERINGS |= {
    "a wave's sample off": ("misattributed", _rows("wearables", _set(0, samples=[0.1001, -0.05]))),
    "a wave not converted": ("misattributed", _rows("wearables", _set(0, samples=[100.0, -50.0]))),
    "a wave cut short": ("misattributed", _rows("wearables", _set(0, samples=[0.1]))),
    "a wave lost": ("misattributed", _rows("wearables", _set(0, samples=None))),
    "another period": ("misattributed", _rows("wearables", _set(0, period_ms=8.0))),
    "glucose not converted": ("misattributed", _rows("wearables", _set(1, numeric_value=6.0))),
    "a probe that is off not flagged": ("misattributed", _rows("wearables", _set(5, quality_flag=None))),
    "creatinine not converted": ("misattributed", _rows("labs", _set(0, numeric_value=88.4))),
    "a comparator lost": ("misattributed", _rows("labs", _set(0, comparator=None))),
    "a correction kept as final": ("misattributed", _rows("labs", _set(5, status="F"))),
    "a withdrawn result with a value": ("misattributed", _rows("labs", _set(8, numeric_value=1.0))),
    "reported at another time": ("misattributed", _rows("labs", _later(1, "reported_at", 1))),
    "another order": ("misattributed", _rows("labs", _set(1, order_id="L-9"))),
    "another year of birth": ("misattributed", _rows("adt_events", _set(1, birth_year=1951))),
    "another trigger": ("misattributed", _rows("adt_events", _set(1, type="A02"))),
    "another stay": ("misattributed", _rows("adt_events", _set(1, stay_id="S9"))),
    "a dose not converted": ("misattributed", _rows("medication_events", _set(1, dose=1.0))),
    "a time rounded to the millisecond": ("misattributed", _rows("medication_events", _later(1, "event_time", -250))),
    "another action": ("misattributed", _rows("medication_events", _set(1, action="ordered"))),
    "a lab result of another token than the readings": (
        "misattributed",
        _rows("labs", _retold("subject_token", lambda token: f"{token[:-1]}!")),
    ),
    "a patient in another partition of another stream": (
        "disordered",
        _log(LABS, _retold("partition", lambda p: 1 - p)),
    ),
    "a lab result sent by nobody": ("phantom", _sent(_drop(700))),
}


@pytest.mark.parametrize("stream", [WEARABLES, LABS, ADMISSIONS, MEDICATION])
def test_fields_that_nobody_knows_must_be_kept_whole_and_under_the_right_key(perfect: History, stream: str) -> None:
    table = OWN_TABLE[stream]
    rows = perfect.tables[table].rows
    told = next(i for i, sealed in enumerate(rows["unknown_fields"].to_pylist()) if sealed)
    silent = next(i for i, sealed in enumerate(rows["unknown_fields"].to_pylist()) if not sealed)
    size = len(rows["unknown_fields"][told].as_py())

    for change in (
        _set(told, unknown_fields=None, unknown_sealed_under=None),
        _set(told, unknown_fields=bytes(size - 1)),
        _set(told, unknown_fields=b"\7" * size),
        _set(told, unknown_fields=_altered(rows["unknown_fields"][told].as_py())),
        _set(told, unknown_sealed_under="day:2026-11-18"),
        _set(told, unknown_sealed_under=None),
        _set(silent, unknown_fields=bytes(size), unknown_sealed_under="person"),
    ):
        assert judge(_rows(table, change)(perfect)).totals["misattributed"]


def _altered(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


@pytest.mark.parametrize("stream", SENT_STREAMS)
def test_a_reject_must_seal_its_own_message_under_its_own_key(perfect: History, stream: str) -> None:
    rows = perfect.tables[REJECTS].rows
    one, other = [i for i, name in enumerate(rows["stream"].to_pylist()) if name == stream][:2]
    row = rows.slice(one, 1).to_pylist()[0]
    appended_ms = round(row["kafka_time"].timestamp() * 1000)
    empty = sealed_message(stream, b"P000001", b"", row["subject_token"], appended_ms)

    for change in (
        _set(one, sealed_payload=b"\7" * len(row["sealed_payload"])),
        _set(one, sealed_payload=_altered(row["sealed_payload"])),
        _set(one, **empty),
        _set(one, sealed_under="day:2026-11-18"),
        _swap(one, other, "sealed_payload", "sealed_under", "subject_token"),
    ):
        assert judge(_rows(REJECTS, change)(perfect)).totals["misattributed"]


def test_sealed_fields_of_another_message_of_the_same_length_are_not_this_one_s(perfect: History) -> None:
    rows = perfect.tables["labs"].rows
    cells = list(zip(*(rows[name].to_pylist() for name in ("subject_token", "unknown_fields")), strict=True))
    one, other = next(
        (i, j)
        for i, (token, sealed) in enumerate(cells)
        for j, (another, further) in enumerate(cells)
        if i < j and token == another and sealed and further and len(sealed) == len(further)
    )

    assert judge(_rows("labs", _swap(one, other, "unknown_fields"))(perfect)).totals["misattributed"]


def test_what_nobody_can_open_any_more_is_not_wrong_but_a_key_that_never_was_is(perfect: History) -> None:
    assert perfect.keys is not None
    token = next(token for token in perfect.tables["labs"].rows["subject_token"].to_pylist() if token)
    left = {owner: key for owner, key in perfect.keys.by_owner.items() if owner != f"person:{token}"}
    mark = hmac.digest(b"", f"destroyed|person:{token}".encode(), "sha256")

    assert judge(replace(perfect, keys=Keys(left, destroyed=frozenset([mark])))).passed
    assert judge(replace(perfect, keys=Keys(left))).totals["misattributed"]


def test_without_the_vault_only_sizes_and_owners_of_sealed_cells_are_judged(perfect: History) -> None:
    garbage = _rows(REJECTS, _set(0, sealed_payload=b"\7" * 60))

    assert judge(garbage(replace(perfect, keys=None))).passed
    assert not judge(garbage(perfect)).passed


def test_an_alert_that_a_restart_repeated_is_a_duplicate(perfect: History) -> None:
    verdict = judge(_told_twice(DUPLICATES)(perfect))

    assert verdict.passed, verdict.report()


def test_a_duplicate_whose_first_position_is_forgotten_is_one_still_but_no_first_is(perfect: History) -> None:
    assert judge(_rows(DUPLICATES, _set(0, first_offset=-1))(perfect)).passed

    called = _rows(DUPLICATES, lambda rows: _set(len(rows) - 1, first_offset=-1)(rows))
    assert judge(called(_move(200, "vitals", DUPLICATES)(perfect))).totals["misjudged"]


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_tampered_history_is_caught(perfect: History, name: str) -> None:
    heading, tamper = TAMPERINGS[name]

    verdict = judge(tamper(perfect))

    assert not verdict.passed
    assert verdict.totals[heading] > 0, verdict.report()


def test_a_send_of_unknown_end_is_looked_up_in_kafka(perfect: History) -> None:
    unknown = _sent(_set(30, result="unknown", partition=-1, offset=-1))

    assert judge(unknown(perfect)).passed


def test_a_send_of_unknown_end_that_never_arrived_is_not_lost(perfect: History) -> None:
    history = _never_arrived(perfect)
    where = (1, perfect.streams[VITALS].ends[1][1] - 1)
    sent = history.ledgers[0].sent
    places = list(zip(sent["partition"].to_pylist(), sent["offset"].to_pylist(), strict=True))
    history = _sent(_set(places.index(where), result="unknown", partition=-1, offset=-1))(history)

    verdict = judge(history)

    assert verdict.totals["lost"] == 0, verdict.report()


def test_an_alert_of_the_script_that_nobody_raised_is_missed(perfect: History) -> None:
    promised = {"patient_id": "P000002", "rule": "news2", "least_level": 1, "from_ms": 0, "until_ms": 1 << 45}
    ledger = replace(perfect.ledgers[0], heading={"expected_alerts": [promised]})

    assert judge(replace(perfect, ledgers=(ledger,))).totals["alerts_missing"] == 1


def test_the_summary_ledger_is_held_against_rows_rejects_and_duplicates(perfect: History) -> None:
    rows = perfect.tables["vitals"].rows
    total = 0
    for event_id in rows["event_id"].to_pylist():
        total ^= int(event_id, 16)
    right = Summary(600, 12, 12, len(rows), pc.sum(rows["seq"]).as_py(), total)

    assert judge(replace(perfect, ledgers=(), summary=right)).passed
    for wrong in (
        right._replace(distinct=right.distinct + 1),
        right._replace(sum_seq=right.sum_seq + 1),
        right._replace(xor_id=right.xor_id ^ 1),
        right._replace(duplicates=0),
    ):
        assert not judge(replace(perfect, ledgers=(), summary=wrong)).passed


# -------------------------------------------------------------------------------------------- the offline alerts


@pytest.mark.parametrize(
    ("signal", "value", "points"),
    [
        (offline.RR, 8, 3), (offline.RR, 9, 1), (offline.RR, 11, 1), (offline.RR, 12, 0), (offline.RR, 20, 0),
        (offline.RR, 21, 2), (offline.RR, 24, 2), (offline.RR, 25, 3),
        (offline.SPO2, 91, 3), (offline.SPO2, 92, 2), (offline.SPO2, 94, 1), (offline.SPO2, 96, 0),
        (offline.OXYGEN, 0, 0), (offline.OXYGEN, 6, 2),
        (offline.SBP, 90, 3), (offline.SBP, 91, 2), (offline.SBP, 101, 1), (offline.SBP, 111, 0), (offline.SBP, 219, 0),
        (offline.SBP, 220, 3),
        (offline.PULSE, 40, 3), (offline.PULSE, 41, 1), (offline.PULSE, 51, 0), (offline.PULSE, 91, 1),
        (offline.PULSE, 111, 2), (offline.PULSE, 131, 3),
        (offline.ACVPU, 0, 0), (offline.ACVPU, 1, 3), (offline.ACVPU, 4, 3),
        (offline.TEMPERATURE, 35.0, 3), (offline.TEMPERATURE, 35.1, 1), (offline.TEMPERATURE, 36.1, 0),
        (offline.TEMPERATURE, 38.0, 0), (offline.TEMPERATURE, 38.1, 1), (offline.TEMPERATURE, 39.1, 2),
    ],
)  # fmt: skip
def test_news2_points_are_those_of_the_chart(signal: int, value: float, points: int) -> None:
    assert offline.news2_points(signal, value) == points


def _vitals(*readings: tuple[float, str, float], appended: list[float] | None = None) -> pa.Table:
    """Readings of one patient: minute, code, value; `appended` at minutes of their own, else at those."""
    count = len(readings)
    minutes = [minute for minute, *_ in readings]
    return pa.table(
        {
            "subject_token": ["t"] * count,
            "code": [code for _, code, _ in readings],
            "numeric_value": pa.array([value for *_, value in readings], pa.float64()),
            "text_value": pa.nulls(count, pa.string()),
            "quality_flag": pa.nulls(count, pa.string()),
            "event_time": _moments(minutes),
            "kafka_time": _moments(appended or minutes),
            "kafka_partition": pa.array([0] * count, pa.int32()),
            "kafka_offset": pa.array(range(count), pa.int64()),
        }
    )


def _moments(minutes: list[float]) -> pa.Array:
    return pa.array([int(minute * 60e6) for minute in minutes], pa.int64()).cast(pa.timestamp("us", "UTC"))


def _heart_rates(*readings: tuple[float, float]) -> list[tuple[int, str | None, int]]:
    """(level, withheld because, offset) of what the heart rate's own limits give."""
    decided = offline.recompute(_vitals(*((minute, "8867-4", value) for minute, value in readings)), {})
    return [(d.level, d.withheld_because, d.offset) for d in decided if d.rule == "threshold.heart_rate"]


def test_each_rise_alerts_once() -> None:
    assert _heart_rates((0, 112), (1, 115), (2, 135), (3, 140), (4, 120)) == [(1, None, 0), (2, None, 2)]


def test_a_late_reading_changes_nothing() -> None:
    assert _heart_rates((10, 70), (5, 150)) == []


def test_a_reading_dated_ahead_makes_nothing_late_that_comes_after_it() -> None:
    told = _vitals((50, "8867-4", 70), (0.9, "8867-4", 140), appended=[0, 1])

    decided = [d for d in offline.recompute(told, {}) if d.rule == "threshold.heart_rate"]

    assert [(d.level, d.offset, d.episode_start_ms) for d in decided] == [(2, 1, 54_000)]


def test_an_episode_ends_after_ten_clear_minutes_and_the_cool_down_withholds_the_next() -> None:
    assert _heart_rates((0, 120), (1, 80), (11, 80), (12, 120)) == [(1, None, 0), (1, "cool_down", 3)]


def test_an_episode_goes_on_where_clear_readings_did_not_last() -> None:
    assert _heart_rates((0, 120), (1, 80), (5, 108), (6, 80), (15, 80), (15.5, 120)) == [(1, None, 0)]


def test_a_higher_level_is_not_withheld_by_the_cool_down() -> None:
    assert _heart_rates((0, 120), (1, 80), (11, 80), (12, 140)) == [(1, None, 0), (2, None, 3)]


def test_what_the_cool_down_withheld_is_sent_when_it_ends() -> None:
    told = [(0, 120), (1, 80), (11, 80), (12, 120), (29, 120), (30, 120)]

    assert _heart_rates(*told) == [(1, None, 0), (1, "cool_down", 3), (1, None, 5)]


def test_four_hours_of_silence_end_an_episode() -> None:
    assert _heart_rates((0, 120), (241, 120)) == [(1, None, 0), (1, None, 1)]


def test_news2_counts_a_reading_for_its_carry_forward_only() -> None:
    ill = [(0, "9279-1", 22.0), (0, "8867-4", 112.0), (0, "8480-6", 99.0)]
    together = offline.recompute(_vitals(*ill), {})
    apart = offline.recompute(_vitals(*ill[:2], (61, "8480-6", 99.0)), {})

    assert [d.level for d in together if d.rule == "news2"] == [2]
    assert not [d for d in apart if d.rule == "news2"]
