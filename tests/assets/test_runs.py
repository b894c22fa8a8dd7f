"""Runs of Dagster on a real table: a red gate stops what follows, a backfill is one run, nothing leaks into events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.gate import run_gate
from tests.assets.conftest import PARTITION, Lake
from tests.expectations.day import DAY, MIDNIGHT, good_rows, reading
from warehouse.vocabulary import HEART_RATE

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
NEXT = (DAY + timedelta(days=1)).isoformat()
GATE, MINUTES = dg.AssetKey(["quality", "vitals"]), dg.AssetKey(["lake", "vitals_by_minute"])


def run(
    defs: dg.Definitions, instance: dg.DagsterInstance, *keys: dg.AssetKey, **tags: str
) -> dg.ExecuteInProcessResult:
    """One run of these assets, as the UI or a backfill would launch it; a failure is returned, not raised."""
    job = defs.resolve_implicit_global_asset_job_def()
    tags = tags or {"dagster/partition": PARTITION}
    return job.execute_in_process(instance=instance, asset_selection=list(keys), tags=tags, raise_on_error=False)


def materialised(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> list[str | None]:
    return [event.partition for event in result.get_asset_materialization_events() if event.asset_key == key]


def started(result: dg.ExecuteInProcessResult) -> list[str | None]:
    return [event.step_key for event in result.all_events if event.event_type is dg.DagsterEventType.STEP_START]


def two_days() -> dict[str, str]:
    return {"dagster/asset_partition_range_start": PARTITION, "dagster/asset_partition_range_end": NEXT}


def test_a_green_gate_and_the_roll_up_are_one_run(lake: Lake, defs: dg.Definitions, instance) -> None:
    lake.commit(good_rows())
    result = run(defs, instance, GATE, MINUTES)
    assert result.success
    assert materialised(result, MINUTES) == [PARTITION]
    assert lake.rows("vitals_by_minute")


def test_a_red_gate_stops_the_roll_up_of_its_run(lake: Lake, defs: dg.Definitions, instance) -> None:
    lake.commit([*good_rows(), reading(100, HEART_RATE, numeric_value=900.0)])
    result = run(defs, instance, GATE, MINUTES)
    (verdict,) = result.get_asset_check_evaluations()
    assert not result.success
    assert (verdict.passed, verdict.partition) == (False, PARTITION)
    assert verdict.description == f"red: value_of[{HEART_RATE}]"
    assert started(result) == ["quality__vitals"]
    assert materialised(result, GATE) == []
    assert lake.rows("vitals_by_minute") == []


def test_the_roll_up_alone_refuses_an_unreleased_day(lake: Lake, defs: dg.Definitions, instance) -> None:
    lake.commit(good_rows())
    result = run(defs, instance, MINUTES)
    (failure,) = result.get_step_failure_events()
    assert "no quality gate has judged this day" in str(failure.step_failure_data.error)
    assert materialised(result, MINUTES) == []


def test_a_backfill_of_two_days_is_a_single_run(lake: Lake, defs: dg.Definitions, instance) -> None:
    lake.commit([*good_rows(), reading(100, HEART_RATE, event_time=MIDNIGHT + timedelta(days=1))])
    for day in (DAY, DAY + timedelta(days=1)):
        run_gate(lake.settings, "vitals", day, now=NOW)
    result = run(defs, instance, MINUTES, **two_days())
    assert result.success
    assert materialised(result, MINUTES) == [PARTITION, NEXT]
    assert {row["minute"].date().isoformat() for row in lake.rows("vitals_by_minute")} == {PARTITION, NEXT}


def test_a_backfill_rolls_up_the_released_day_and_names_the_other(lake: Lake, defs: dg.Definitions, instance) -> None:
    lake.commit(good_rows())
    run_gate(lake.settings, "vitals", DAY, now=NOW)
    result = run(defs, instance, MINUTES, **two_days())
    (failure,) = result.get_step_failure_events()
    assert not result.success
    assert materialised(result, MINUTES) == [PARTITION]
    assert f"vitals, {NEXT}" in str(failure.step_failure_data.error)


def test_no_value_of_a_patient_is_in_dagster_s_events(lake: Lake, defs: dg.Definitions, instance) -> None:
    canary = {"subject_token": "CANARYTOKEN", "device_id": "CANARYDEVICE", "ward": "CANARYWARD"}
    planted = reading(100, HEART_RATE, event_id="CANARYEVENT", numeric_value=913572468.25, **canary)
    lake.commit([*good_rows(), planted])
    result = run(defs, instance, GATE, MINUTES)
    stored = "".join(dg.serialize_value(entry) for entry in instance.all_logs(result.run_id))
    assert "value_of" in stored
    assert "CANARY" not in stored
    assert "913572468" not in stored
