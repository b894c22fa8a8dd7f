from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import Reject, StreamBatch
from pipelines.decode.json import SLICE, JsonDecoder
from tests.examples import tried
from tests.pipelines.messages import ALERTS, VITALS, alert, encoded, messages, reading, reasons

GOOD = encoded(reading())
CANARY = "zq7canary"


def _decoded(values, contract=VITALS) -> StreamBatch:
    return JsonDecoder(contract).decode(StreamBatch(messages(values, contract=contract)))


def _text(**fields) -> bytes:
    return encoded(reading(**fields))


def _raw(field: str, literal: str) -> bytes:
    return _text(**{field: "@"}).replace(b'"@"', literal.encode())


HAZARDS = {
    "cut": (GOOD[:60], "malformed_json"),
    "no json": (b"not json at all", "malformed_json"),
    "colon missing": (GOOD.replace(b'"value":', b'"value"'), "malformed_json"),
    "brace missing": (GOOD[:-1], "malformed_json"),
    "NaN": (_raw("value", "NaN"), "malformed_json"),
    "Infinity": (_raw("value", "-Infinity"), "malformed_json"),
    "beyond double": (_raw("value", "1e999"), "out_of_bounds"),
    "beyond int64": (_raw("seq", str(2**63)), "out_of_bounds"),
    "below int64": (_raw("seq", str(-(2**63) - 1)), "out_of_bounds"),
    "below the contract's minimum": (_text(seq=-1), "out_of_bounds"),
    "huge integer": (_raw("seq", "9" * 400), "out_of_bounds"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "malformed_json"),
    "utf-16": (GOOD.decode().encode("utf-16"), "invalid_utf8"),
    "bad utf-8 in a field": (_text(ward="@").replace(b"@", b"\xff"), "invalid_utf8"),
    "bad utf-8 in an unknown field": (_text(other="@").replace(b"@", b"\xff"), "invalid_utf8"),
    "bad utf-8 in an unknown key": (_text(other=1).replace(b"other", b"oth\xffr"), "invalid_utf8"),
    "surrogate in utf-8": (_text(ward="@").replace(b"@", b"\xed\xa0\x80"), "invalid_utf8"),
    "lone surrogate": (_raw("ward", '"\\ud800 and more text"'), "malformed_json"),
    "empty": (b"", "empty_message"),
    "blank": (b" \n\t", "empty_message"),
    "tombstone": (None, "tombstone"),
    "two objects": (GOOD + GOOD, "several_objects"),
    "two objects on lines": (GOOD + b"\n" + GOOD, "several_objects"),
    "trailing comma": (GOOD + b",", "malformed_json"),
    "array": (b"[" + GOOD + b"]", "wrong_type"),
    "null": (b"null", "missing_field"),
    "string": (b'"text"', "wrong_type"),
    "empty object": (b"{}", "missing_field"),
    "field missing": (_text(event_id=...), "missing_field"),
    "required null": (_text(event_time=None), "missing_field"),
    "number as text": (_text(value="82.0"), "wrong_type"),
    "text as number": (_text(ward=7), "wrong_type"),
    "number as bool": (_text(value=True), "wrong_type"),
    "integer as float": (_text(seq=1.5), "wrong_type"),
    "number as object": (_text(value={"a": 1}), "wrong_type"),
    "empty id": (_text(event_id=""), "wrong_length"),
    "long id": (_text(event_id="x" * 65), "wrong_length"),
    "deep array": (_raw("other", "[" * 200_000), "nested_too_deep"),
    "deep closed": (_raw("other", "[" * 200_000 + "]" * 200_000), "nested_too_deep"),
    "deep object": (_raw("other", '{"a":' * 200_000), "nested_too_deep"),
    "newline in a string": (GOOD.replace(b"ICU-2", b"ICU\n2"), "malformed_json"),
    "single quotes": (GOOD.replace(b'"', b"'"), "malformed_json"),
    "long and malformed": (b'{"event_id":"' + b"x" * 900_000, "malformed_json"),
}


@pytest.mark.parametrize(("value", "reason"), HAZARDS.values(), ids=HAZARDS)
def test_a_bad_message_is_one_reject_and_its_neighbours_stay_in_their_places(value, reason):
    batch = _decoded([_text(seq=1), value, _text(seq=2)])
    assert reasons(batch) == {1: reason}
    assert batch.rows["seq"].to_pylist() == [1, 2]
    assert batch.row_index.tolist() == [0, 2]


@pytest.mark.parametrize("order", [1, -1])
def test_all_hazards_at_once_keep_row_and_message_together(order):
    values = [value for value, _ in HAZARDS.values()][::order]
    mixed = [part for seq, value in enumerate(values) for part in (value, _text(seq=seq))]
    batch = _decoded(mixed)
    assert batch.rows["seq"].to_pylist() == list(range(len(values)))
    assert batch.row_index.tolist() == list(range(1, len(mixed), 2))
    expected = [reason for _, reason in HAZARDS.values()][::order]
    assert list(reasons(batch).values()) == expected


def test_a_right_reading_has_its_values_under_the_names_of_the_table():
    (row,) = _decoded([reading(text_value="A")]).rows.to_pylist()
    assert row == {
        "event_id": "3f1c6f52-8d54-4f0a-9a3e-0a7f6f0f2b11",
        "patient_id": "P000123",
        "device_id": "MON-0042",
        "ward": "ICU-2",
        "code": "8867-4",
        "numeric_value": 82.0,
        "text_value": "A",
        "samples": None,
        "period_ms": None,
        "unit": "/min",
        "event_time": "2026-11-22T01:02:03.456Z",
        "received_at": None,
        "seq": 12345,
    }


@pytest.mark.parametrize("name", ["patient_id", "device_id", "ward", "value", "text_value", "unit", "seq"])
def test_an_optional_field_may_be_absent_or_null(name):
    batch = _decoded([reading(**{name: ...}), reading(**{name: None})])
    column = "numeric_value" if name == "value" else name
    assert batch.rows[column].to_pylist() == [None, None]


def test_an_unknown_field_is_ignored_whatever_it_holds():
    assert _decoded([reading(other={"deep": [1, "x"]})]).rows.num_rows == 1


def test_of_a_key_given_twice_the_last_counts():
    assert _decoded([GOOD[:-1] + b',"seq":9}']).rows["seq"].to_pylist() == [9]


def test_the_largest_integers_are_kept_exactly():
    values = [2**63 - 1, 2**53 + 1, 0]
    assert _decoded([reading(seq=value) for value in values]).rows["seq"].to_pylist() == values


def test_text_beyond_ascii_is_kept():
    assert _decoded([encoded(reading(ward="Säuglinge"))[:-1] + ',"other":"日本"}'.encode()]).rows.num_rows == 1
    raw = json.dumps(reading(ward="Säuglinge 日本"), ensure_ascii=False).encode()
    assert _decoded([raw]).rows["ward"].to_pylist() == ["Säuglinge 日本"]


def test_a_very_large_message_is_read():
    assert _decoded([reading(other="x" * 5_000_000), reading()]).rows.num_rows == 2


def test_slices_do_not_shift_positions():
    values = [reading(seq=n) if n % 701 else b"{" for n in range(2 * SLICE + 5)]
    batch = _decoded(values)
    assert batch.rows["seq"].to_pylist() == batch.row_index.tolist()
    assert reasons(batch).keys() == {n for n in range(2 * SLICE + 5) if not n % 701}


@pytest.mark.parametrize("values", [[], [b"{"], [b""] * 3])
def test_a_batch_without_a_good_message_has_typed_columns_all_the_same(values):
    batch = _decoded(values)
    assert batch.rows.num_rows == 0
    assert batch.rows.schema == _decoded([reading()]).rows.schema
    assert len(reasons(batch)) == len(values)


def test_what_was_rejected_before_is_not_decoded_again():
    batch = StreamBatch(messages([reading(seq=1), reading(seq=2), b"{"]), rejects=(Reject(0, "earlier", "why"),))
    done = JsonDecoder(VITALS).decode(batch)
    assert reasons(done) == {0: "why", 2: "malformed_json"}
    assert done.rows["seq"].to_pylist() == [2]


def test_no_detail_holds_anything_of_the_payload():
    fields = [*reading(), "text_value", "other", CANARY]
    values = [
        encoded(reading(**{name: kind})) for name in fields for kind in (CANARY, {CANARY: CANARY}, [CANARY], 1, True)
    ]
    values += [value[:at] for value in values[::7] for at in range(1, len(value), 5)]
    values += [value.replace(b'"', b"'") for value in values[:5]] + [value + value for value in values[:5]]
    values += [encoded(alert(patient={CANARY: CANARY})), encoded({CANARY: {CANARY: CANARY}})]
    for contract in (VITALS, ALERTS):
        said = repr(_decoded(values, contract).rejects)
        assert CANARY not in said
        assert not {piece for piece in (CANARY[:4], "MON-0042", "P000123", "3f1c6f52") if piece in said}


def test_inner_objects_are_columns_by_their_paths():
    (row,) = _decoded([alert()], ALERTS).rows.to_pylist()
    assert (row["patient_id"], row["birth_date"]) == ("P000123", "1950-02-28")
    assert (row["source_topic_id"], row["source_partition"], row["source_offset"]) == ("T", 1, 7)
    assert (row["device_time"], row["received_at"]) == ("2026-11-22T01:02:03Z", None)
    assert (row["reasons"], row["missing"]) == (["respiratory_rate 26"], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"patient": None}, "missing_field"),
        ({"patient": {}}, "missing_field"),
        ({"patient": "P000123"}, "wrong_type"),
        ({"source": {"topic_id": "T", "partition": 2**31, "offset": 1}}, "out_of_bounds"),
        ({"level": 4}, "out_of_bounds"),
        ({"reasons": ["x", 1]}, "wrong_type"),
        ({"reasons": ["x", None]}, "missing_field"),
    ],
)
def test_a_fault_in_an_inner_object_is_one_reject(change, reason):
    batch = _decoded([alert(), alert(**change), alert()], ALERTS)
    assert reasons(batch) == {1: reason}
    assert batch.rows.num_rows == 2


def test_an_inner_object_of_optional_fields_may_be_absent_or_null():
    optional = tuple(replace(c, required=False) if str(c.path).startswith("source.") else c for c in ALERTS.message)
    contract = replace(ALERTS, message=optional)
    values = [alert(source=None), alert(), {k: v for k, v in alert().items() if k != "source"}, alert(source={})]
    batch = _decoded(values, contract)
    assert batch.rows["source_offset"].to_pylist() == [None, 7, None, None]


@given(st.lists(st.one_of(st.binary(max_size=40), st.just(GOOD), st.none()), max_size=30))
@tried(20)
def test_whatever_comes_each_message_is_in_one_place(values):
    batch = _decoded(values)
    reasons(batch)
    assert set(batch.row_index.tolist()) == {at for at, value in enumerate(values) if value == GOOD}
