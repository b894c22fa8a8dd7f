from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.normalise import normalise
from pipelines.validate import validate
from tests.pipelines.messages import ALERTS, VITALS, alert, decoded, reading, reasons


def _done(values, keys=None, contract=VITALS):
    return validate(normalise(decoded(values, keys, contract), contract), contract)


@pytest.mark.parametrize(
    ("key", "patient", "reason"),
    [
        (b"P000123", "P000123", None),
        (b"device:MON-1", None, None),
        (b"P000123", "P000124", "subject_mismatch"),
        (b"P000123", "p000123", "subject_mismatch"),
        (b"device:MON-1", "P000123", "subject_mismatch"),
        (b"P000123", None, "missing_subject"),
        (b"P000123", ..., "missing_subject"),
    ],
)
def test_key_and_payload_must_name_the_same_person(key, patient, reason):
    batch = _done([reading(), reading(patient_id=patient), reading()], [b"P000123", key, b"P000123"])
    assert reasons(batch) == ({1: reason} if reason else {})


def test_an_alert_must_be_about_the_person_of_its_key():
    values = [alert(), alert(patient={"patient_id": "P000124"})]
    batch = _done(values, [b"P000123", b"P000123"], ALERTS)
    assert reasons(batch) == {1: "subject_mismatch"}
    assert batch.rejects[0].detail == "patient.patient_id"


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("2026-11-22T02:05:00Z", None),
        ("2026-11-22T02:05:00.000001Z", "time_in_future"),
        ("9999-12-31T23:59:59.999999Z", "time_in_future"),
        ("9999-12-31T23:59:59.999999-12:00", "time_in_future"),
        ("2000-01-01T00:00:00Z", None),
        ("1999-12-31T23:59:59.999999Z", "implausible_time"),
        ("0000-01-01T00:00:00Z", "implausible_time"),
    ],
)
def test_an_event_lies_between_the_contracts_earliest_and_what_it_allows_ahead_of_the_broker(time, reason):
    batch = _done([reading(), reading(event_time=time), reading()])
    assert reasons(batch) == ({1: reason} if reason else {})


def test_how_far_ahead_is_too_far_is_the_contracts():
    values, keys = [reading(event_time="2026-11-22T01:05:02Z")], None
    strict = replace(VITALS, time=replace(VITALS.time, allowed_ahead_seconds=1))
    free = replace(VITALS, time=replace(VITALS.time, allowed_ahead_seconds=None))
    assert reasons(_done(values, keys, strict)) == {0: "time_in_future"}
    assert reasons(_done(values, keys, free)) == {}


@pytest.mark.parametrize("time", ["0000-12-31T23:59:59Z", "9999-12-31T23:59:59.999999-12:00"])
def test_another_time_must_lie_in_a_year_that_can_be_written(time):
    assert reasons(_done([reading(received_at=time), reading()])) == {0: "implausible_time"}


def test_an_alert_may_expire_in_the_future():
    assert reasons(_done([alert(expires_at="2027-01-01T00:00:00Z")], contract=ALERTS)) == {}


def test_a_conversion_that_leaves_the_numbers_is_rejected():
    values = [reading(), reading(code="8480-6", unit="kPa", value=1.7e308), reading()]
    assert reasons(_done(values)) == {1: "not_finite"}


def test_of_several_faults_the_first_is_the_reason():
    values = [reading(patient_id="P000999", event_time="9999-01-01T00:00:00Z")]
    batch = _done(values)
    assert [(r.stage, r.reason) for r in batch.rejects] == [("validate", "subject_mismatch")]


@pytest.mark.parametrize("values", [[], [b"{"], [reading(patient_id="P9")] * 3])
def test_a_batch_without_a_right_row_passes(values):
    batch = _done(values)
    assert batch.rows.num_rows == 0
    assert len(reasons(batch)) == len(values)


def test_no_identifier_stands_in_a_reject():
    batch = _done([reading(patient_id="canary"), reading(patient_id=None)])
    assert not {piece for piece in ("canary", "P000123") if piece in repr(batch.rejects)}
