from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest

from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.lake_rows import duplicate_rows, raw_rows, reject_rows, table_rows
from pipelines.normalise import normalise
from pipelines.validate import validate
from tests.pipelines.messages import ALERTS, APPENDED_MS, KEY, VITALS, alert, decoded, reading
from tests.warehouse.fake_keys import FakeKeys
from warehouse.contract import FOLDER, load_contracts, read_contract
from warehouse.identity import RejectedMessage, SealError, subject_token, unseal_message, unseal_reject
from warehouse.tables import arrow_schema

INGEST_US = 1_795_309_501_000_000
TOKEN = subject_token(KEY, VITALS.topic.key_system, "P000123")
REJECTS, DUPLICATES = (load_contracts().table(name) for name in ("rejects", "duplicates"))


def _done(values, keys=None, contract=VITALS):
    batch = validate(normalise(decoded(values, keys, contract), contract), contract)
    return deduplicate(batch, FirstPositions(1000, 1000, KEY), contract)


def _plain(rows: pa.Table) -> pa.Schema:
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in rows.schema]
    return pa.schema(fields)


def test_a_reading_is_a_row_with_its_token_and_position_and_without_its_patient():
    batch = _done([reading(event_id="a", value=98.6, code="8310-5", unit="[degF]"), reading(event_id="b")])
    row = table_rows(batch, FakeKeys(), VITALS.tables[0], INGEST_US).to_pylist()[1]
    assert row == {
        "event_id": "b",
        "subject_token": TOKEN,
        "device_id": "MON-0042",
        "ward": "ICU-2",
        "code": "8867-4",
        "numeric_value": 82.0,
        "text_value": None,
        "unit": "/min",
        "event_time": datetime(2026, 11, 22, 1, 2, 3, 456_000, tzinfo=UTC),
        "received_at": None,
        "seq": 12345,
        "quality_flag": None,
        "topic_id": "topic-1",
        "kafka_partition": 1,
        "kafka_offset": 103,
        "kafka_time": datetime(2026, 11, 22, 1, 5, tzinfo=UTC),
        "ingest_time": datetime(2026, 11, 22, 1, 5, 1, tzinfo=UTC),
        "samples": None,
        "period_ms": None,
        "unknown_fields": None,
        "unknown_sealed_under": None,
    }


@pytest.mark.parametrize("values", [[], [b"{"], [reading()]])
def test_every_table_has_its_contracts_schema_whether_or_not_it_has_rows(values):
    batch = _done(values)
    tables = [
        (VITALS.tables[0], table_rows(batch, FakeKeys(), VITALS.tables[0], INGEST_US)),
        (REJECTS, reject_rows(batch, FakeKeys(), REJECTS, INGEST_US)),
        (DUPLICATES, duplicate_rows(batch, DUPLICATES, INGEST_US)),
    ]
    for contract, rows in tables:
        assert _plain(rows).equals(arrow_schema(contract))


def test_an_alert_is_a_row_without_the_person():
    (row,) = table_rows(_done([alert()], contract=ALERTS), FakeKeys(), ALERTS.tables[0], INGEST_US).to_pylist()
    assert (row["subject_token"], row["source_partition"], row["reasons"]) == (TOKEN, 1, ["respiratory_rate 26"])
    assert "P000123" not in repr(row)
    assert "1950" not in repr(row)


def test_rows_of_a_table_join_over_batches():
    rows = [table_rows(_done([reading(ward=ward)]), FakeKeys(), VITALS.tables[0], INGEST_US) for ward in ("A", "B")]
    assert pa.concat_tables(rows)["ward"].to_pylist() == ["A", "B"]


def test_each_message_is_at_its_position_in_one_table():
    values = [reading(event_id="a"), b"{", reading(event_id="b"), reading(event_id="a"), reading(code="?"), None]
    batch = _done(values)
    tables = [
        table_rows(batch, FakeKeys(), VITALS.tables[0], INGEST_US),
        reject_rows(batch, FakeKeys(), REJECTS, INGEST_US),
        duplicate_rows(batch, DUPLICATES, INGEST_US),
    ]
    offsets = [table["kafka_offset"].to_pylist() for table in tables]
    assert sorted(chain.from_iterable(offsets)) == batch.messages.offsets.tolist()
    assert [len(part) for part in offsets] == [3, 3, 0]


def test_a_reject_says_where_and_why_and_opens_under_the_persons_key():
    batch = _done([reading(), b'{"ward":"canary"'])
    (row,) = reject_rows(batch, FakeKeys(), REJECTS, INGEST_US).to_pylist()
    assert (row["stream"], row["stage"], row["reason"]) == ("device.vitals", "decode", "malformed_json")
    assert (row["subject_token"], row["sealed_under"], row["size_bytes"]) == (TOKEN, "person", 16)
    assert (row["topic_id"], row["kafka_partition"], row["kafka_offset"]) == ("topic-1", 1, 103)
    opened = unseal_reject(FakeKeys(), row["stream"], row["sealed_payload"], row["sealed_under"], row["subject_token"])
    assert opened == RejectedMessage(b"P000123", b'{"ward":"canary"')
    assert b"canary" not in row["sealed_payload"]
    assert "P000123" not in repr(row)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (reading(patient_id="P000124"), b"P000123"),
        (b"{", b"device:MON-1"),
        (b"{", b"what is this"),
        (b"{", None),
    ],
    ids=["mismatch", "device", "unreadable key", "no key"],
)
def test_a_reject_of_no_certain_person_is_sealed_under_its_day(value, key):
    batch = _done([value], [key])
    (row,) = reject_rows(batch, FakeKeys(), REJECTS, INGEST_US).to_pylist()
    assert (row["subject_token"], row["sealed_under"]) == (None, "day:2026-11-22")
    opened = unseal_reject(FakeKeys(), row["stream"], row["sealed_payload"], row["sealed_under"], None)
    assert opened == RejectedMessage(key, batch.messages.values[0])


def test_the_day_of_a_reject_is_that_of_its_append_in_utc():
    batch = _done([b"{", b"{"], [b"?", b"?"])
    midnight = APPENDED_MS - APPENDED_MS % 86_400_000
    late = replace(batch, messages=replace(batch.messages, appended_ms=np.array([midnight - 1, midnight])))
    rows = reject_rows(late, FakeKeys(), REJECTS, INGEST_US)
    assert rows["sealed_under"].to_pylist() == ["day:2026-11-21", "day:2026-11-22"]
    assert rows["kafka_time"].cast(pa.date32()).to_pylist() == [date(2026, 11, 21), date(2026, 11, 22)]


def test_a_tombstone_is_a_reject_of_no_bytes_and_stays_one():
    (row,) = reject_rows(_done([None]), FakeKeys(), REJECTS, INGEST_US).to_pylist()
    assert (row["reason"], row["size_bytes"]) == ("tombstone", 0)
    opened = unseal_reject(FakeKeys(), row["stream"], row["sealed_payload"], row["sealed_under"], row["subject_token"])
    assert opened.value is None


def test_a_duplicate_names_its_event_and_where_it_stood_first():
    batch = _done([reading(event_id="a"), reading(event_id="b"), reading(event_id="a")])
    (row,) = duplicate_rows(batch, DUPLICATES, INGEST_US).to_pylist()
    assert (row["stream"], row["event_id"], row["subject_token"]) == ("device.vitals", "a", TOKEN)
    assert (row["kafka_partition"], row["first_offset"], row["kafka_offset"]) == (0, 100, 106)


def test_a_batch_of_rejects_only_is_sealed_whole():
    rows = reject_rows(_done([b"{"] * 3000), FakeKeys(), REJECTS, INGEST_US)
    assert rows.num_rows == 3000
    assert len(set(rows["sealed_payload"].to_pylist())) == 3000


# ------------------------------------------------------------------ messages as they came

RAW = read_contract(FOLDER / "raw.messages.odcs.yaml").tables[0]
KEEPING = replace(VITALS, keep_raw=True)


def test_a_stream_that_keeps_its_messages_keeps_each_sealed_whatever_became_of_it():
    values = [reading(event_id="a"), b"{", reading(event_id="a"), reading(event_id="c", patient_id="P000999")]
    keys = [b"P000123", b"P000123", b"P000123", b"P000123"]
    batch = _done(values, keys, KEEPING)
    rows = raw_rows(batch, FakeKeys(), RAW, INGEST_US)

    assert _plain(rows) == arrow_schema(RAW)
    assert rows["kafka_offset"].to_pylist() == batch.messages.offsets.tolist()
    opened = [
        unseal_message(FakeKeys(), VITALS.name, row["sealed_message"], row["sealed_under"], row["subject_token"])
        for row in rows.to_pylist()
    ]
    assert [(message.key, message.value) for message in opened] == list(zip(keys, batch.messages.values, strict=True))
    assert all(batch.messages.values)
    # of the last it is in doubt whose it is: nobody's key may seal it
    assert rows["subject_token"].to_pylist() == [TOKEN, TOKEN, TOKEN, None]
    assert rows["sealed_under"].to_pylist() == ["person", "person", "person", "day:2026-11-22"]


def test_what_is_kept_as_it_came_does_not_open_as_a_reject():
    row = raw_rows(_done([reading()], contract=KEEPING), FakeKeys(), RAW, INGEST_US).to_pylist()[0]
    with pytest.raises(SealError):
        unseal_reject(FakeKeys(), VITALS.name, row["sealed_message"], row["sealed_under"], row["subject_token"])


def test_a_stream_that_does_not_keep_them_lets_payloads_go():
    assert _done([reading()]).messages.values == [None]
