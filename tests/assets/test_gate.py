"""The gate and the roll-up on a real table: what releases a day, what takes it back, what is built of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from assets.derive import DerivedDay, derive
from assets.gate import run_gate
from tests.assets.conftest import Lake
from tests.expectations.day import DAY, MIDNIGHT, good_rows, reading
from warehouse.contract import load_contracts
from warehouse.release import DayNotReleasedError
from warehouse.settings import Settings
from warehouse.vocabulary import HEART_RATE

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WRONG = {"numeric_value": 900.0}


def run_rollup(settings: Settings, day: date) -> DerivedDay:
    """`vitals_by_minute` of one day; a refusal as the error that Dagster would show."""
    receipt = derive(settings, load_contracts(), "vitals_by_minute", [day])
    if receipt.refused:
        raise DayNotReleasedError(receipt.refused[0])
    return receipt.done[0]


def minutes(lake: Lake, code: str = HEART_RATE) -> list[dict[str, object]]:
    rows = [row for row in lake.rows("vitals_by_minute") if row["code"] == code]
    return sorted(rows, key=lambda row: row["minute"])


def test_a_good_day_is_released_and_rolled_up(lake: Lake) -> None:
    lake.commit([*good_rows(), *(reading(60 + n, HEART_RATE, numeric_value=80.0 + n) for n in range(3))])
    assert run_gate(lake.settings, "vitals", DAY, now=NOW).passed
    run_rollup(lake.settings, DAY)
    assert minutes(lake)[1] == {
        "subject_token": "TOKEN0", "ward": "ICU-1", "code": HEART_RATE, "unit": "/min",
        "minute": MIDNIGHT + timedelta(minutes=1), "samples": 3,
        "mean": 81.0, "minimum": 80.0, "maximum": 82.0, "first": 80.0, "last": 82.0,
    }  # fmt: skip


def test_a_verdict_names_the_offsets_it_was_reached_on(lake: Lake) -> None:
    rows = good_rows()
    lake.commit(rows)
    verdict = run_gate(lake.settings, "vitals", DAY, now=NOW)
    (written,) = lake.rows("quality_results")
    assert f'"0":{len(rows)}' in written["offset_vector"]
    assert (written["rows"], written["expectations"], written["evaluated_at"]) == (len(rows), verdict.expectations, NOW)


def test_an_unreleased_day_is_refused_and_the_way_out_is_named(lake: Lake) -> None:
    lake.commit(good_rows())
    with pytest.raises(DayNotReleasedError, match=r"no quality gate has judged .* materialise quality/vitals"):
        run_rollup(lake.settings, DAY)


def test_a_red_day_is_refused_and_the_expectation_is_named(lake: Lake) -> None:
    lake.commit([*good_rows(), reading(100, HEART_RATE, **WRONG)])
    assert list(run_gate(lake.settings, "vitals", DAY, now=NOW).failed) == [f"value_of[{HEART_RATE}]"]
    with pytest.raises(DayNotReleasedError, match="is red"):
        run_rollup(lake.settings, DAY)
    assert lake.rows("vitals_by_minute") == []


def test_a_red_day_does_not_stop_its_neighbour(lake: Lake) -> None:
    next_day = DAY + timedelta(days=1)
    wrong = reading(100, HEART_RATE, event_time=MIDNIGHT + timedelta(days=1), **WRONG)
    lake.commit([*good_rows(), wrong])
    assert run_gate(lake.settings, "vitals", DAY, now=NOW).passed
    assert not run_gate(lake.settings, "vitals", next_day, now=NOW).passed
    assert run_rollup(lake.settings, DAY).rows


def test_rows_that_came_after_the_verdict_wait_for_the_next(lake: Lake) -> None:
    lake.commit([reading(0, HEART_RATE)])
    run_gate(lake.settings, "vitals", DAY, now=NOW)
    lake.commit([reading(1, HEART_RATE), reading(0, HEART_RATE, partition=2)])
    run_rollup(lake.settings, DAY)
    assert [row["samples"] for row in minutes(lake)] == [1]
    run_gate(lake.settings, "vitals", DAY, now=LATER)
    run_rollup(lake.settings, DAY)
    assert sorted((row["subject_token"], row["samples"]) for row in minutes(lake)) == [("TOKEN0", 2), ("TOKEN2", 1)]


def test_a_later_red_verdict_takes_the_release_back(lake: Lake) -> None:
    lake.commit(good_rows())
    run_gate(lake.settings, "vitals", DAY, now=NOW)
    lake.commit([reading(100, HEART_RATE, **WRONG)])
    run_gate(lake.settings, "vitals", DAY, now=LATER)
    with pytest.raises(DayNotReleasedError):
        run_rollup(lake.settings, DAY)


def test_a_clock_that_went_back_does_not_hide_a_red_verdict(lake: Lake) -> None:
    lake.commit(good_rows())
    run_gate(lake.settings, "vitals", DAY, now=LATER)
    lake.commit([reading(100, HEART_RATE, **WRONG)])
    run_gate(lake.settings, "vitals", DAY, now=NOW)
    with pytest.raises(DayNotReleasedError):
        run_rollup(lake.settings, DAY)


def test_rolling_up_twice_leaves_the_same_rows_and_other_days_alone(lake: Lake) -> None:
    tomorrow = [reading(100 + n, HEART_RATE, event_time=MIDNIGHT + timedelta(days=1, seconds=n)) for n in range(2)]
    lake.commit([*good_rows(), *tomorrow])
    for day in (DAY, DAY + timedelta(days=1)):
        run_gate(lake.settings, "vitals", day, now=NOW)
        run_rollup(lake.settings, day)
    once = minutes(lake)
    run_rollup(lake.settings, DAY)
    assert minutes(lake) == once
    assert [row["samples"] for row in once] == [3, 2]


def test_flagged_readings_and_readings_without_a_patient_are_not_rolled_up(lake: Lake) -> None:
    flagged = reading(100, HEART_RATE, numeric_value=900.0, quality_flag="out_of_range")
    nobody = reading(101, HEART_RATE, subject_token=None)
    lake.commit([*good_rows(), flagged, nobody])
    run_gate(lake.settings, "vitals", DAY, now=NOW)
    run_rollup(lake.settings, DAY)
    assert [(row["subject_token"], row["samples"]) for row in minutes(lake)] == [("TOKEN0", 3)]


def test_a_day_that_is_not_in_the_table_is_not_fit(lake: Lake) -> None:
    lake.commit(good_rows())
    assert not run_gate(lake.settings, "vitals", date(2026, 11, 1), now=NOW).passed
