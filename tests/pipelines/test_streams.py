"""What each stream's messages become: laboratory results, waves, doses, admissions; and what no contract knows."""

from __future__ import annotations

import json

import pytest

from pipelines.lake_rows import table_rows
from tests.pipelines.messages import (
    ADT,
    LABS,
    MEDICATION,
    VITALS,
    adt,
    lab,
    medication,
    reading,
    reasons,
    wave,
    worked,
)
from tests.warehouse.fake_keys import FakeKeys
from warehouse.contract import load_contracts
from warehouse.identity import unseal_of

INGEST_US = 1_795_309_501_000_000
WEARABLES = load_contracts().stream("iot.patient")


def rows(values, contract, keys=None) -> list[dict]:
    return table_rows(worked(values, contract, keys), FakeKeys(), contract.tables[0], INGEST_US).to_pylist()


# ------------------------------------------------------------------ laboratory


@pytest.mark.parametrize(
    ("code", "unit", "value", "canonical", "canonical_unit"),
    [
        ("2524-7", "mg/dL", 27.9, 3.097, "mmol/L"),
        ("2160-0", "umol/L", 88.4, 1.0, "mg/dL"),
        ("2345-7", "mmol/L", 5.0, 90.08, "mg/dL"),
        ("1975-2", "umol/L", 17.1, 1.0, "mg/dL"),
        ("777-3", "10*9/L", 150.0, 150.0, "10*3/uL"),
        ("718-7", "g/L", 140.0, 14.0, "g/dL"),
        ("3150-0", "1", 0.4, 40.0, "%"),
    ],
)
def test_a_result_is_kept_in_the_unit_of_its_analyte(code, unit, value, canonical, canonical_unit):
    (row,) = rows([lab(code=code, unit=unit, value=value)], LABS)
    assert row["numeric_value"] == pytest.approx(canonical, rel=1e-3)
    assert row["unit"] == canonical_unit
    assert row["quality_flag"] is None


def test_a_unit_of_another_analyte_is_no_unit():
    assert reasons(worked([lab(unit="10*9/L")], LABS)) == {0: "unknown_unit"}


def test_a_vital_sign_is_no_laboratory_result_and_the_other_way_round():
    assert reasons(worked([lab(code="8867-4", unit="/min")], LABS)) == {0: "unknown_code"}
    assert reasons(worked([reading(code="2524-7", unit="mmol/L")], VITALS)) == {0: "unknown_code"}


def test_only_a_result_that_cannot_be_had_may_lack_a_value():
    (row,) = rows([lab(status="X", value=..., unit=...)], LABS)
    assert (row["status"], row["numeric_value"]) == ("X", None)
    assert reasons(worked([lab(value=None), lab(status="X")], LABS)) == {0: "missing_value", 1: "unexpected_value"}


def test_a_bound_keeps_its_comparator():
    (row,) = rows([lab(comparator="<", value=0.5)], LABS)
    assert (row["comparator"], row["numeric_value"]) == ("<", 0.5)
    assert reasons(worked([lab(comparator="~")], LABS)) == {0: "wrong_pattern"}


# ------------------------------------------------------------------ waves


def test_a_wave_is_kept_in_the_unit_of_its_code():
    messages = [wave(), reading(event_id="b"), wave(event_id="c", unit="uV", values=[100.0, -250.0])]
    samples = [row["samples"] for row in rows(messages, VITALS)]
    assert samples == [[0.1, 0.2, 1.1], None, pytest.approx([0.1, -0.25])]
    assert [row["unit"] for row in rows(messages, VITALS)] == ["mV", "/min", "mV"]


def test_a_dense_signal_comes_as_a_wave_of_any_code_that_has_a_unit():
    (row,) = rows([wave(code="8867-4", unit="/min", values=[80.0, 81.0])], VITALS)
    assert (row["samples"], row["numeric_value"]) == ([80.0, 81.0], None)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (wave(values=[]), "missing_value"),
        (wave(values=...), "missing_value"),
        (wave(value=1.0), "unexpected_value"),
        (wave(values=..., value=1.0), "unexpected_value"),
        (wave(period_ms=...), "missing_period"),
        (wave(unit=...), "missing_unit"),
        (wave(values=[1.0, None]), "wrong_type"),
        (wave(values=["1"]), "wrong_type"),
        (wave(period_ms=0), "out_of_bounds"),
        (reading(period_ms=8.0), "unexpected_value"),
        (wave(code="80288-4", unit="mV"), "unexpected_value"),
        (wave(code="99504-3", unit="mmol/L", values=[1e308]), "not_finite"),
    ],
)
def test_a_wave_that_makes_no_sense_is_rejected_and_its_neighbours_stay(message, reason):
    contract = WEARABLES if message["code"] == "99504-3" else VITALS
    batch = worked([reading(event_id="a", seq=1), message, reading(event_id="b", seq=2)], contract)
    assert reasons(batch) == {1: reason}
    assert batch.rows["seq"].to_pylist() == [1, 2]


# ------------------------------------------------------------------ medication, admissions


def test_a_dose_is_kept_in_the_unit_of_its_kind():
    (row,) = rows([medication()], MEDICATION)
    assert (row["dose"], row["unit"]) == (pytest.approx(0.48), "mg/h")
    (row,) = rows([medication(dose=..., unit=...)], MEDICATION)
    assert (row["dose"], row["unit"]) == (None, None)


def test_a_dose_without_a_known_unit_is_quarantined():
    values = [medication(unit=...), medication(unit="spoons"), medication(dose=-1)]
    assert reasons(worked(values, MEDICATION)) == {0: "missing_unit", 1: "unknown_unit", 2: "out_of_bounds"}


def test_the_time_of_an_administration_is_exact():
    (row,) = rows([medication(event_time="2026-11-22T01:00:00.250001Z")], MEDICATION)
    assert row["event_time"].isoformat() == "2026-11-22T01:00:00.250001+00:00"


def test_an_admission_leaves_the_year_of_birth_and_no_name():
    batch = worked([adt(), adt(event_id="x", birth_date=..., name=..., identifiers=...)], ADT)
    table = table_rows(batch, FakeKeys(), ADT.tables[0], INGEST_US)
    assert table["birth_year"].to_pylist() == [1958, None]
    assert not {"Example", "Alex", "999", "1958-03-02", "P000123"} & {
        str(value) for row in table.to_pylist() for value in row.values()
    }


def test_a_message_about_a_patient_needs_one():
    assert reasons(worked([lab()], LABS, keys=[b"P000999"])) == {0: "subject_mismatch"}
    assert reasons(worked([lab(patient_id=...)], LABS)) == {0: "missing_field"}


# ------------------------------------------------------------------ what a contract does not know


def test_unknown_fields_fail_no_message_and_are_kept_sealed():
    extra = {"firmware": "2.1", "vendor": {"site": 7}}
    values = [reading(event_id="a"), reading(event_id="b", **extra), reading(event_id="c", code="?", **extra)]
    kept = rows([*values, reading(event_id="d")], VITALS)
    assert [row["event_id"] for row in kept] == ["a", "b", "d"]
    assert [row["unknown_sealed_under"] for row in kept] == [None, "person", None]
    row = kept[1]
    opened = unseal_of(FakeKeys(), VITALS.name, "unknown_fields", row["unknown_fields"], "person", row["subject_token"])
    assert json.loads(opened) == extra
    assert b"firmware" not in row["unknown_fields"]


def test_unknown_fields_within_an_object_are_kept_within_it():
    batch = worked([adt(name={"family": "Example", "prefix": "Dr"}, mother="x")], ADT)
    assert json.loads(batch.rows["unknown_fields"][0].as_py()) == {"name": {"prefix": "Dr"}, "mother": "x"}


def test_unknown_values_are_kept_as_they_were_written():
    value = json.dumps(reading()).encode()[:-1] + b',"gain":0.12345678901234567890123,"limit":1e999}'
    batch = worked([value], VITALS)
    assert batch.rejects == ()
    assert batch.rows["unknown_fields"][0].as_py() == b'{"gain":0.12345678901234567890123,"limit":1e999}'


def test_what_a_device_without_a_patient_says_is_sealed_under_the_day():
    (row,) = rows([reading(patient_id=..., firmware="2.1")], VITALS, keys=[b"device:MON-0042"])
    assert row["unknown_sealed_under"] == "day:2026-11-22"


def test_a_message_that_is_wrong_and_says_more_is_refused_for_what_is_wrong():
    batch = worked([reading(firmware="2.1", value="high"), reading(firmware="2.1", event_id=...)], VITALS)
    assert reasons(batch) == {0: "wrong_type", 1: "missing_field"}


def test_most_messages_may_say_more():
    batch = worked([reading(event_id=str(n), seq=n, firmware=str(n)) for n in range(5000)], VITALS)
    assert batch.rows["seq"].to_pylist() == list(range(5000))
    assert json.loads(batch.rows["unknown_fields"][4321].as_py()) == {"firmware": "4321"}
