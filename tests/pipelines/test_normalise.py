from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.normalise import normalise
from tests.examples import tried
from tests.pipelines.messages import ALERTS, VITALS, alert, decoded, reading, reasons, wave
from warehouse.vocabulary import BEDSIDE, codes_in

TIMESTAMP = pa.timestamp("us", "UTC")


def _done(values, contract=VITALS):
    return normalise(decoded(values, contract=contract), contract)


def _times(*texts: str):
    return _done([reading(event_time=text) for text in texts])


def _us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


# ------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2026-11-22T01:02:03Z", _us("2026-11-22T01:02:03+00:00")),
        ("2026-11-22T01:02:03.1Z", _us("2026-11-22T01:02:03+00:00") + 100_000),
        ("2026-11-22T01:02:03.123456Z", _us("2026-11-22T01:02:03+00:00") + 123_456),
        ("2026-11-22T01:02:03.1234567Z", _us("2026-11-22T01:02:03+00:00") + 123_456),
        ("2026-11-22T01:02:03.123456999Z", _us("2026-11-22T01:02:03+00:00") + 123_456),
        ("2026-11-22T01:02:03+05:30", _us("2026-11-21T19:32:03+00:00")),
        ("2026-11-22T01:02:03.123456789-0500", _us("2026-11-22T06:02:03+00:00") + 123_456),
        ("2026-11-22 01:02Z", _us("2026-11-22T01:02:00+00:00")),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
        ("9999-12-31T23:59:59.999999-12:00", 253_402_343_999_999_999),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000),
        ("2024-02-29T00:00:00Z", _us("2024-02-29T00:00:00+00:00")),
        ("2000-02-29T00:00:00Z", _us("2000-02-29T00:00:00+00:00")),
    ],
)
def test_a_time_is_read_to_the_microsecond_alone_and_beside_a_bad_one(text, microseconds):
    for batch in (_times(text), _times("rubbish", text)):
        assert batch.rows["event_time"].cast(pa.int64()).to_pylist() == [microseconds]
        assert batch.rows["event_time"].type == TIMESTAMP


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-11-22T01:02:03", "time_without_zone"),
        ("2026-11-22T01:02:03.123456789", "time_without_zone"),
        ("2026-11-22 01:02", "time_without_zone"),
        ("2026-11-22", "time_without_zone"),
        ("2026-02-29T00:00:00Z", "unreadable_time"),
        ("1900-02-29T00:00:00Z", "unreadable_time"),
        ("2026-02-29T00:00:00", "unreadable_time"),
        ("2026-04-31T00:00:00Z", "unreadable_time"),
        ("2026-13-01T00:00:00Z", "unreadable_time"),
        ("2026-11-22T24:00:00Z", "unreadable_time"),
        ("2026-11-22T23:59:60Z", "unreadable_time"),
        ("2026-11-22T01:02:03.1234567891Z", "unreadable_time"),
        ("2026-11-22T01:02:03+24:00", "unreadable_time"),
        ("2026-11-22T01:02:03Z ", "unreadable_time"),
        ("2026-11-22T01:02:03Z\n", "unreadable_time"),
        ("10000-01-01T00:00:00Z", "unreadable_time"),
        ("20261122T010203Z", "unreadable_time"),
        ("1795309323", "unreadable_time"),
        ("", "unreadable_time"),
        ("zq7canary", "unreadable_time"),
    ],
)
def test_a_time_that_cannot_be_read_is_one_reject(text, reason):
    good = "2026-11-22T01:02:03Z"
    batch = _times(good, text, good)
    assert reasons(batch) == {1: reason}
    assert batch.rejects[0].detail == "event_time"
    assert batch.rows.num_rows == 2


_NUMBERS = st.tuples(*(st.integers(0, most) for most in (10_000, 13, 32, 25, 61, 61)))
_PIECES = st.sampled_from(
    ["", "Z", "+01", "+0100", "-23:59", "+24:00", "z", ".5Z", ".123456Z", ".1234567Z", ".123456789+01:00"]
)


@given(_NUMBERS, st.sampled_from("T t"), st.integers(0, 3), _PIECES)
@tried(40)
def test_a_bad_neighbour_never_changes_how_a_time_is_read(numbers, separator, parts, end):
    year, month, day, hour, minute, second = numbers
    clock = [f"{hour:02d}", f"{minute:02d}", f"{second:02d}"][:parts]
    text = f"{year:04d}-{month:02d}-{day:02d}" + (separator + ":".join(clock) if clock else "") + end
    alone, beside = _times(text), _times("rubbish", text, "2026-11-22T01:02:03.123456789Z")
    (read,) = {
        tuple(batch.rows["event_time"].cast(pa.int64()).to_pylist()[: len(alone.row_index)])
        for batch in (alone, beside)
    }
    assert [r.reason for r in alone.rejects] == [r.reason for r in beside.rejects if r.index == 1]
    if read and year and len(clock) > 1:
        since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
        assert read == (since // timedelta(microseconds=1),)


def test_an_absent_optional_time_stays_null_and_a_bad_one_rejects():
    good, bad = reading(received_at=None), reading(received_at="2026-11-22")
    batch = _done([good, bad, reading(received_at="2026-11-22T00:00:00Z")])
    assert reasons(batch) == {1: "time_without_zone"}
    assert batch.rows["received_at"].to_pylist() == [None, datetime(2026, 11, 22, tzinfo=UTC)]


def test_dates_of_alerts_are_dates_and_their_times_times():
    values = [alert(), alert(patient={"patient_id": "P000123", "birth_date": "1950-02-29"}), alert()]
    batch = _done(values, ALERTS)
    assert reasons(batch) == {1: "unreadable_date"}
    assert batch.rows["birth_date"].to_pylist() == [date(1950, 2, 28)] * 2
    assert batch.rows["expires_at"].type == TIMESTAMP
    assert "quality_flag" not in batch.rows.column_names


# ------------------------------------------------------------------ values and units


@pytest.mark.parametrize(
    ("code", "value", "unit", "canonical", "canonical_unit"),
    [
        ("8867-4", 82.25, "/min", 82.25, "/min"),
        ("8867-4", 82.25, "{beats}/min", 82.25, "/min"),
        ("8310-5", 98.6, "[degF]", 37.0, "Cel"),
        ("8310-5", 310.15, "K", 37.0, "Cel"),
        ("8480-6", 16.0, "kPa", 120.00987, "mm[Hg]"),
        ("3151-8", 2000.0, "mL/min", 2.0, "L/min"),
    ],
)
def test_a_value_comes_out_in_its_canonical_unit(code, value, unit, canonical, canonical_unit):
    (row,) = _done([reading(code=code, value=value, unit=unit)]).rows.to_pylist()
    assert row["numeric_value"] == pytest.approx(canonical, rel=1e-7)
    assert row["unit"] == canonical_unit
    assert row["quality_flag"] is None


def test_a_canonical_value_is_not_touched_in_its_last_bit():
    values = [0.1 + 0.2, 82.30000000000001, 60.1]
    assert _done([reading(value=value) for value in values]).rows["numeric_value"].to_pylist() == values


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code": "1234-5"}, "unknown_code"),
        ({"code": "8867-4 "}, "unknown_code"),
        ({"unit": "mm[Hg]"}, "unknown_unit"),
        ({"unit": "bpm"}, "unknown_unit"),
        ({"unit": "/MIN"}, "unknown_unit"),
        ({"unit": None}, "missing_unit"),
        ({"unit": ...}, "missing_unit"),
        ({"value": None}, "missing_value"),
        ({"text_value": "A"}, "unexpected_value"),
        ({"value": None, "text_value": "A"}, "unexpected_value"),
        ({"code": "80288-4", "value": 1.0, "unit": None}, "unexpected_value"),
        ({"code": "80288-4", "value": None, "unit": None, "text_value": "X"}, "unknown_word"),
        ({"code": "80288-4", "value": None, "unit": None, "text_value": "air"}, "unknown_word"),
        ({"code": "80288-4", "value": None, "unit": None, "text_value": "a"}, "unknown_word"),
        ({"code": "80288-4", "value": None, "unit": None}, "missing_value"),
        ({"code": "80288-4", "value": None, "unit": "/min", "text_value": "A"}, "unknown_unit"),
    ],
)
def test_an_observation_that_does_not_fit_its_code_is_one_reject(changes, reason):
    batch = _done([reading(seq=1), reading(**changes), reading(seq=2)])
    assert reasons(batch) == {1: reason}
    assert batch.rejects[0].stage == "normalise"
    assert batch.rows["seq"].to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("code", "word"), [("80288-4", word) for word in "ACVPU"] + [("3151-8", "air"), ("3151-8", "oxygen")]
)
def test_a_coded_observation_keeps_its_word_and_has_no_unit(code, word):
    (row,) = _done([reading(code=code, value=None, unit=None, text_value=word)]).rows.to_pylist()
    assert (row["text_value"], row["numeric_value"], row["unit"], row["quality_flag"]) == (word, None, None, None)


@pytest.mark.parametrize(
    ("code", "unit", "value", "flag"),
    [
        ("8867-4", "/min", 0.0, "probe_off"),
        ("59408-5", "%", 0.0, "probe_off"),
        ("8480-6", "mm[Hg]", 0.0, "probe_off"),
        ("8480-6", "kPa", 0.0, "probe_off"),
        ("8462-4", "mm[Hg]", -0.0, "probe_off"),
        ("8478-0", "mm[Hg]", 0.0, "probe_off"),
        ("9279-1", "/min", 0.0, "out_of_range"),
        ("8310-5", "Cel", 0.0, "out_of_range"),
        ("3151-8", "L/min", 0.0, None),
        ("59408-5", "%", 100.5, "out_of_range"),
        ("8867-4", "/min", 1e308, "out_of_range"),
        ("8867-4", "/min", -5.0, "out_of_range"),
        ("8310-5", "[degF]", 98.6, None),
    ],
)
def test_an_impossible_value_is_kept_with_its_flag(code, unit, value, flag):
    (row,) = _done([reading(code=code, unit=unit, value=value)]).rows.to_pylist()
    assert row["quality_flag"] == flag
    assert row["numeric_value"] is not None


@pytest.mark.parametrize(
    "vital", [vital for vital in codes_in((BEDSIDE,)) if vital.numeric], ids=lambda vital: vital.name
)
def test_both_ends_of_the_plausible_range_are_plausible(vital):
    values = [reading(code=vital.code, unit=vital.unit, value=end) for end in (vital.low, vital.high)]
    assert _done(values).rows["quality_flag"].to_pylist() == [None, None]


def test_strings_that_repeat_are_dictionaries_and_ids_are_not():
    schema = _done([reading()]).rows.schema
    plain = {field.name for field in schema if field.type == pa.string()}
    assert plain == {"event_id"}
    assert pa.types.is_dictionary(schema.field("patient_id").type)


@pytest.mark.parametrize("values", [[], [b"{"], [reading(code="?")] * 3, [reading(event_time="?")] * 3])
def test_a_batch_without_a_right_reading_has_the_columns_of_one(values):
    batch = _done(values)
    assert batch.rows.num_rows == 0
    assert batch.rows.schema == _done([reading()]).rows.schema
    reasons(batch)


def test_reasons_of_one_batch_do_not_mix():
    values = [
        reading(),
        reading(code="?"),
        b"{",
        reading(event_time="?"),
        reading(unit="?"),
        reading(received_at="?"),
        reading(),
    ]
    batch = _done(values)
    assert reasons(batch) == {
        1: "unknown_code",
        2: "malformed_json",
        3: "unreadable_time",
        4: "unknown_unit",
        5: "unreadable_time",
    }
    assert batch.row_index.tolist() == [0, 6]


@pytest.mark.parametrize(
    ("changes", "flag"),
    [
        ({"values": [0.1, 25.0]}, "out_of_range"),
        ({"values": [-25.0, 0.1]}, "out_of_range"),
        ({"code": "59408-5", "unit": "%", "values": [97.0, 0.0, 300.0]}, "probe_off"),
        ({"values": [0.1, 0.0]}, None),
    ],
)
def test_a_wave_is_flagged_by_the_gravest_of_its_samples_and_kept(changes, flag):
    done = _done([wave(**changes), reading()])
    assert done.rows["quality_flag"].to_pylist() == [flag, None]
    assert done.rows["samples"][0].as_py() == changes["values"]
