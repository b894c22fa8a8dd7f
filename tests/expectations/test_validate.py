"""A day in, a verdict out: each planted fault turns its own expectation red, and no value gets out."""

from __future__ import annotations

import logging
from typing import Any

import pyarrow as pa
import pytest

from expectations.suites import SCHEMA, Suite, suite_for
from expectations.validate import Verdict, differing_columns, iceberg_type, validate_day
from tests.expectations.day import good_rows, reading, table
from warehouse.contract import load_contracts
from warehouse.vocabulary import CODES, CONSCIOUSNESS, HEART_RATE, SPO2, TEMPERATURE


@pytest.fixture(scope="module")
def suite() -> Suite:
    return suite_for(load_contracts().table("vitals"), CODES)


def judged(suite: Suite, *planted: dict[str, Any]) -> Verdict:
    """The verdict on a good day with these readings added, each at an offset of its own."""
    return validate_day(table([*good_rows(), *planted]), suite)


def test_a_good_day_passes_without_a_warning(suite: Suite) -> None:
    verdict = judged(suite)
    assert verdict == Verdict(suite.version, len(good_rows()), suite.size, {}, {})


FAULTS = [
    (reading(100, HEART_RATE, numeric_value=900.0), f"value_of[{HEART_RATE}]"),
    (reading(100, TEMPERATURE, numeric_value=98.6), f"value_of[{TEMPERATURE}]"),
    (reading(100, SPO2, numeric_value=float("inf")), f"value_of[{SPO2}]"),
    (reading(100, TEMPERATURE, unit="[degF]"), f"unit_of[{TEMPERATURE}]"),
    (reading(100, HEART_RATE, unit=None), f"unit_given[{HEART_RATE}]"),
    (reading(100, HEART_RATE, numeric_value=None), "one_value_each"),
    (reading(100, HEART_RATE, code="0000-0"), "code_is_known"),
    (reading(100, CONSCIOUSNESS, text_value="X"), f"answer_of[{CONSCIOUSNESS}]"),
    (reading(100, HEART_RATE, event_id=None), "event_id_is_given"),
    (reading(100, HEART_RATE, kafka_offset=5, event_id="another"), "key_is_unique"),
    (reading(100, HEART_RATE, quality_flag="odd"), "known_flags"),
]


@pytest.mark.parametrize(("planted", "name"), FAULTS, ids=[name for _, name in FAULTS])
def test_one_wrong_value_turns_exactly_one_expectation_red(suite: Suite, planted: dict[str, Any], name: str) -> None:
    assert list(judged(suite, planted).failed) == [name]


def test_the_number_of_rows_at_fault_is_told(suite: Suite) -> None:
    wrong = [reading(100 + n, HEART_RATE, numeric_value=900.0) for n in range(3)]
    assert judged(suite, *wrong).failed == {f"value_of[{HEART_RATE}]": 3}


def test_a_flagged_reading_may_be_out_of_range(suite: Suite) -> None:
    assert judged(suite, reading(100, HEART_RATE, numeric_value=900.0, quality_flag="out_of_range")).passed


def test_a_warning_is_told_and_stops_nothing(suite: Suite) -> None:
    flagged = [reading(100 + n, SPO2, numeric_value=0.0, quality_flag="probe_off") for n in range(60)]
    verdict = judged(suite, *flagged)
    assert verdict.passed
    assert list(verdict.warnings) == ["mostly_scorable"]


def test_a_day_without_rows_is_red(suite: Suite) -> None:
    assert not validate_day(table([]), suite).passed


def test_a_missing_column_is_red_and_the_rest_is_still_judged(suite: Suite) -> None:
    rows = table([*good_rows(), reading(100, HEART_RATE, numeric_value=900.0)]).drop_columns(["quality_flag"])
    failed = validate_day(rows, suite).failed
    assert SCHEMA in failed
    assert "known_flags" in failed


def test_another_type_or_a_column_too_many_differs_from_the_contract(suite: Suite) -> None:
    rows = table(good_rows())
    assert differing_columns(rows.schema, suite.schema) == []
    assert differing_columns(rows.append_column("extra", pa.nulls(len(rows))).schema, suite.schema) == ["extra"]
    at = rows.schema.get_field_index("kafka_offset")
    narrowed = rows.set_column(at, "kafka_offset", rows["kafka_offset"].cast(pa.int32()))
    assert differing_columns(narrowed.schema, suite.schema) == ["kafka_offset"]


def test_a_type_is_the_same_however_it_is_encoded() -> None:
    assert iceberg_type(pa.dictionary(pa.int8(), pa.large_string())) == "string"
    assert iceberg_type(pa.list_(pa.string())) == "list<string>"
    assert iceberg_type(pa.timestamp("us")) != iceberg_type(pa.timestamp("us", "UTC"))


def test_no_patient_s_value_leaves_with_a_verdict(
    suite: Suite, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = {
        "event_id": "CANARY-EVENT", "subject_token": "CANARY-TOKEN", "device_id": "CANARY-DEVICE",
        "ward": "CANARY-WARD", "unit": "CANARY-UNIT", "text_value": "CANARY-WORD", "quality_flag": "CANARY-FLAG",
    }  # fmt: skip
    same = [reading(100, HEART_RATE, numeric_value=913572468.25, **canary) for _ in range(2)]
    strange = reading(101, HEART_RATE, code="CANARY-CODE", numeric_value=913572468.25)
    verdict = judged(suite, *same, strange)
    printed = "".join(capfd.readouterr()) + caplog.text + repr(verdict)
    assert len(verdict.failed) > 4
    assert "CANARY" not in printed
    assert "913572468" not in printed
