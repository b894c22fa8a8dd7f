"""A day in, a verdict out: each planted fault turns its own expectation red, and no value gets out."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from expectations.suites import SCHEMA, Suite, suite_for
from expectations.validate import Day, Verdict, differing_columns, iceberg_type, validate_day
from tests.expectations.day import (
    GOOD,
    MIDNIGHT,
    at,
    good_rows,
    lab,
    medication,
    movement,
    reading,
    table,
    wave,
    wearable,
)
from warehouse.contract import load_contracts
from warehouse.vocabulary import CGM_GLUCOSE, CONSCIOUSNESS, ECG_LEAD_II, HEART_RATE, LACTATE, SPO2, TEMPERATURE

CONTRACTS = load_contracts()
SUITES = {name: suite_for(CONTRACTS.table(name)) for name in GOOD}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return SUITES["vitals"]


def judged(suite: Suite, *planted: dict[str, Any]) -> Verdict:
    """The verdict on a good day with these readings added, each at an offset of its own."""
    return validate_day(Day(table([*good_rows(), *planted])), suite)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_day_passes_without_a_warning(name: str) -> None:
    verdict = validate_day(Day(table(GOOD[name], name)), SUITES[name])
    assert (dict(verdict.failed), dict(verdict.warnings)) == ({}, {})
    assert (verdict.rows, verdict.expectations) == (len(GOOD[name]), len(verdict.held))


EARLY = MIDNIGHT - timedelta(hours=1)
FAULTS = [
    ("vitals", reading(100, HEART_RATE, numeric_value=900.0), f"value_of[{HEART_RATE}]"),
    ("vitals", reading(100, TEMPERATURE, numeric_value=98.6), f"value_of[{TEMPERATURE}]"),
    ("vitals", reading(100, SPO2, numeric_value=float("inf")), f"value_of[{SPO2}]"),
    ("vitals", reading(100, TEMPERATURE, unit="[degF]"), f"unit_of[{TEMPERATURE}]"),
    ("vitals", reading(100, HEART_RATE, unit=None), f"unit_given[{HEART_RATE}]"),
    ("vitals", reading(100, HEART_RATE, numeric_value=None), "a_value_each"),
    ("vitals", reading(100, HEART_RATE, code="0000-0"), "code_is_known"),
    ("vitals", reading(100, LACTATE), "code_is_known"),
    ("vitals", reading(100, CONSCIOUSNESS, text_value="X"), f"answer_of[{CONSCIOUSNESS}]"),
    ("vitals", reading(100, HEART_RATE, event_id=None), "event_id_is_given"),
    ("vitals", reading(100, HEART_RATE, kafka_offset=5, event_id="another", kafka_time=at(6)), "key_is_unique"),
    ("vitals", reading(100, HEART_RATE, event_id="event-0-1"), "reading_once"),
    ("vitals", reading(100, HEART_RATE, quality_flag="odd"), "known_flags"),
    ("vitals", wave(100, unit="uV"), f"unit_of[{ECG_LEAD_II}]"),
    ("vitals", {**wave(100), "samples": [0.1, 99.0]}, f"greatest_of[{ECG_LEAD_II}]"),
    ("vitals", {**wave(100), "samples": [0.1, -99.0]}, f"least_of[{ECG_LEAD_II}]"),
    ("vitals", {**wave(100), "samples": []}, "wave_has_values"),
    ("vitals", {**wave(100), "unit": None}, "wave_has_unit"),
    ("vitals", {**wave(100), "samples": None}, "period_has_wave"),
    ("vitals", {**wave(100), "numeric_value": 1.0}, f"no_number[{ECG_LEAD_II}] wave_has_no_number"),
    ("wearables", wearable(100, code="80288-4", numeric_value=None, unit=None, text_value="A"), "code_is_known"),
    ("wearables", wearable(100, numeric_value=5000.0), f"value_of[{CGM_GLUCOSE}]"),
    ("labs", lab(100, order="L-2", code=HEART_RATE), "code_is_known"),
    ("labs", lab(100, order="L-2", numeric_value=900.0), f"value_of[{LACTATE}]"),
    ("labs", lab(100, order="L-2", unit="mg/dL"), f"unit_of[{LACTATE}]"),
    ("labs", lab(100, order="L-2", unit=None), f"unit_given[{LACTATE}]"),
    ("labs", lab(100, order="L-2", status="Q"), "known_status"),
    ("labs", lab(100, order="L-2", numeric_value=None), "a_value_unless_withdrawn"),
    ("labs", lab(100, order="L-2", order_id=None), "order_id_is_given"),
    ("adt_events", movement(100, "A99"), "known_types"),
    ("medication_events", medication(100, unit="ug/min"), "unit_is_canonical"),
    ("medication_events", medication(100, unit=None), "dose_has_unit"),
    ("medication_events", medication(100, dose=-1.0), "dose_in_range"),
    ("medication_events", medication(100, action="lost"), "known_actions"),
    ("medication_events", medication(100, event_time=None), "event_time_is_given"),
]


@pytest.mark.parametrize(("name", "planted", "expected"), FAULTS, ids=[f"{t}-{name}" for t, _, name in FAULTS])
def test_one_wrong_value_turns_exactly_one_expectation_red(name: str, planted: dict[str, Any], expected: str) -> None:
    verdict = validate_day(Day(table([*GOOD[name], planted], name)), SUITES[name])
    assert " ".join(verdict.failed) == expected


WARNINGS = [
    ("vitals", [reading(100, HEART_RATE, kafka_time=EARLY, ingest_time=EARLY)], "kafka_time_rises"),
    ("vitals", [reading(100, HEART_RATE, ingest_time=EARLY)], "ingested_after_kafka"),
    ("adt_events", [movement(100, "A01", ward=None)], "somewhere"),
    ("adt_events", [movement(100, birth_year=1066)], "birth_year_in_range"),
    ("labs", [lab(100, status="P", reported_at=MIDNIGHT + timedelta(hours=9))], "versions_rise"),
    ("labs", [lab(100, order="L-2", reported_at=MIDNIGHT)], "reported_after_collected"),
    ("adt_events", [movement(100, ingest_time=MIDNIGHT + timedelta(hours=5))], "soon_in_the_lake"),
    ("medication_events", [medication(100, dose=None, unit=None)], "doses_of_administrations"),
]


@pytest.mark.parametrize(("name", "planted", "expected"), WARNINGS, ids=[f"{t}-{name}" for t, _, name in WARNINGS])
def test_what_only_should_hold_is_a_warning(name: str, planted: list[dict[str, Any]], expected: str) -> None:
    verdict = validate_day(Day(table([*GOOD[name], *planted], name)), SUITES[name])
    assert (verdict.passed, list(verdict.warnings)) == (True, [expected])


ABOUT_THE_DAY = [
    ({"hours": pa.table({"share_of_usual": [1.0, None, 0.1]})}, [], ["volume_as_usual"]),
    ({"hours": pa.table({"share_of_usual": [1.0, None, 9.0]})}, [], ["volume_as_usual"]),
    ({"hours": pa.table({"share_of_usual": pa.array([None, None], pa.float64())})}, [], []),
    ({"age": pa.table({"age_seconds": [7201.0]})}, [], ["newest_is_recent"]),
    ({"age": pa.table({"age_seconds": [7199.0]})}, [], []),
    ({"positions": pa.table({"unaccounted": [0, 1]})}, ["positions_reconcile"], []),
    ({"positions": pa.table({"unaccounted": [0, -1]})}, ["positions_reconcile"], []),
    ({"positions": pa.table({"unaccounted": [0, 0]})}, [], []),
]


@pytest.mark.parametrize(("looked_at", "failed", "warned"), ABOUT_THE_DAY)
def test_volume_age_and_positions_are_judged_where_they_are_looked_at(
    suite: Suite, looked_at: dict[str, pa.Table], failed: list[str], warned: list[str]
) -> None:
    verdict = validate_day(Day(table(GOOD["vitals"]), **looked_at), suite)
    assert (list(verdict.failed), list(verdict.warnings)) == (failed, warned)


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
    assert not validate_day(Day(table([])), suite).passed


def test_a_missing_column_is_red_and_the_rest_is_still_judged(suite: Suite) -> None:
    rows = table([*good_rows(), reading(100, HEART_RATE, numeric_value=900.0)]).drop_columns(["quality_flag"])
    failed = validate_day(Day(rows), suite).failed
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
