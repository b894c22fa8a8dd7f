"""Derived tables on a real lake: what each reads, what is made again, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from assets.derive import DerivedDayError, derive
from assets.derived import plot
from assets.gate import run_gate
from assets.quality_pages import index_path, page_path
from expectations import validate
from tests.assets.conftest import PARTITION, Lake
from tests.assets.test_runs import materialised, run
from tests.expectations.day import DAY, GOOD, MIDNIGHT, at, good_rows, lab, movement, reading, wearable
from warehouse.contract import load_contracts
from warehouse.vocabulary import HEART_RATE, MAP

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
TOMORROW = DAY + timedelta(days=1)
CONTRACTS = load_contracts()


def judged(lake: Lake, table: str, *days: date, fit: bool = True) -> None:
    assert [run_gate(lake.settings, table, day, now=NOW).passed for day in days] == [fit] * len(days)


def made(lake: Lake, table: str, *days: date) -> list[date]:
    """The days that were written."""
    receipt = derive(lake.settings, CONTRACTS, table, days)
    assert receipt.refused == ()
    return [day.day for day in receipt.done if day.snapshot_id]


def test_every_table_of_outside_streams_is_judged_and_its_page_written(lake: Lake) -> None:
    for name, rows in GOOD.items():
        lake.commit(rows, name)
        judged(lake, name, DAY)
        assert "released" in page_path(lake.settings.home, name, DAY).read_text()
    assert index_path(lake.settings.home).read_text().count("<tr class=") == len(GOOD)


def test_a_lost_row_turns_the_account_of_positions_red(lake: Lake) -> None:
    lake.commit(good_rows())
    lake.lose(lake.rows("vitals")[3]["kafka_offset"])
    assert list(run_gate(lake.settings, "vitals", DAY, now=NOW).failed) == ["positions_reconcile"]


@pytest.mark.parametrize(("erased", "lost", "red"), [(2, 0, False), (2, 1, True), (0, 1, True)])
def test_what_an_erasure_took_out_is_no_loss_and_a_loss_beyond_it_is(
    lake: Lake, erased: int, lost: int, red: bool
) -> None:
    lake.commit(good_rows())
    for row in lake.rows("vitals")[3 : 3 + erased + lost]:
        lake.lose(row["kafka_offset"])
    for step in ("intended", "deleted"):
        lake.tell_erased("vitals", step, erased, NOW)
    lake.tell_erased("labs", "deleted", 9, NOW)
    lake.tell_erased("vitals", "deleted", 9, NOW - timedelta(days=3))
    verdict = run_gate(lake.settings, "vitals", DAY, now=NOW)
    assert ("positions_reconcile" in verdict.failed) is red


def test_an_hour_far_below_the_same_hour_of_other_days_is_a_warning(lake: Lake) -> None:
    days_ago = [number // 10 for number in range(30)]
    before = [reading(n, HEART_RATE, event_time=at(n % 10) - timedelta(days=d + 1)) for n, d in enumerate(days_ago)]
    lake.commit([*before, reading(30, HEART_RATE)])
    verdict = run_gate(lake.settings, "vitals", DAY, now=NOW)
    assert (verdict.passed, list(verdict.warnings)) == (True, ["volume_as_usual"])
    assert not run_gate(lake.settings, "vitals", DAY - timedelta(days=1), now=NOW).warnings


def test_a_result_whose_specimen_moved_to_another_day_is_there_once(lake: Lake) -> None:
    first = lab(0, collected_at=at(23 * 3600), numeric_value=9.0)
    second = lab(1, status="C", collected_at=MIDNIGHT + timedelta(days=1, minutes=30), numeric_value=1.1)
    lake.commit([first], "labs")
    judged(lake, "labs", DAY)
    assert made(lake, "lab_results", DAY) == [DAY]
    lake.commit([second], "labs")
    judged(lake, "labs", TOMORROW)
    assert made(lake, "lab_results", TOMORROW) == [DAY, TOMORROW]
    (result,) = lake.rows("lab_results")
    assert (result["numeric_value"], result["released_value"], result["versions"]) == (1.1, 9.0, 2)


def test_a_fold_that_one_day_forbids_writes_no_other(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.commit([movement(0, stay="S1"), movement(1, stay="S2", event_time=MIDNIGHT + timedelta(days=1))], "adt_events")
    judged(lake, "adt_events", DAY, TOMORROW)
    seen: list[int] = []
    monkeypatch.setattr(validate.Verdict, "passed", property(lambda v: seen.append(1) or len(seen) == 1))
    with pytest.raises(DerivedDayError):
        derive(lake.settings, CONTRACTS, "stays", [DAY, TOMORROW])
    monkeypatch.undo()
    assert lake.rows("stays") == []
    assert made(lake, "stays", DAY, TOMORROW) == [DAY, TOMORROW]


def test_an_admission_and_a_discharge_days_apart_are_one_stay(lake: Lake) -> None:
    out = movement(5, "A03", event_time=MIDNIGHT + timedelta(days=1), recorded_at=None)
    lake.commit([movement(0), movement(1, "A02", ward="W2")], "adt_events")
    judged(lake, "adt_events", DAY)
    assert made(lake, "stays", DAY) == [DAY]
    lake.commit([out], "adt_events")
    judged(lake, "adt_events", DAY, TOMORROW)
    assert made(lake, "stays", TOMORROW) == [DAY]
    assert made(lake, "stay_movements", TOMORROW) == [DAY]
    (stay,) = lake.rows("stays")
    assert (stay["state"], stay["ward"], stay["movements"], stay["opened_at"]) == ("discharged", "W2", 2, MIDNIGHT)
    assert [row["ended_at"] for row in sorted(lake.rows("stay_movements"), key=lambda row: row["movement"])] == [
        MIDNIGHT + timedelta(seconds=1),
        MIDNIGHT + timedelta(days=1),
    ]


def test_a_stay_is_not_told_without_its_beginning(lake: Lake) -> None:
    late = movement(5, "A03", event_time=MIDNIGHT + timedelta(days=1), recorded_at=None)
    lake.commit([movement(0), late], "adt_events")
    judged(lake, "adt_events", TOMORROW)
    receipt = derive(lake.settings, CONTRACTS, "stays", [TOMORROW])
    assert receipt.done == ()
    assert f"adt_events, {DAY}" in receipt.refused[0]


def test_making_stays_again_writes_nothing(lake: Lake) -> None:
    lake.commit(GOOD["adt_events"], "adt_events")
    judged(lake, "adt_events", DAY)
    assert made(lake, "stays", DAY) == [DAY]
    assert made(lake, "stays", DAY) == []


def test_marks_name_the_table_and_position_of_their_reading(lake: Lake) -> None:
    still = [reading(60 * n, MAP, numeric_value=72.0, kafka_offset=n) for n in range(16)]
    lake.commit(still)
    lake.commit([wearable(0, numeric_value=0.0, quality_flag="out_of_range")], "wearables")
    judged(lake, "vitals", DAY)
    judged(lake, "wearables", DAY)
    made(lake, "sensor_faults", DAY)
    marks = sorted((row["table_name"], row["kafka_offset"], row["fault"]) for row in lake.rows("sensor_faults"))
    assert marks == [*(("vitals", n, "stuck") for n in range(16)), ("wearables", 0, "probe_off")]
    assert len(lake.rows("vitals")) == 16


def test_a_further_source_may_be_empty_but_not_unjudged(lake: Lake) -> None:
    lake.commit(good_rows())
    judged(lake, "vitals", DAY)
    assert made(lake, "device_health", DAY) == [DAY]
    lake.commit([wearable(0)], "wearables")
    receipt = derive(lake.settings, CONTRACTS, "device_health", [DAY])
    assert "wearables" in receipt.refused[0]


def test_what_breaks_its_own_contract_is_not_written(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.commit(good_rows())
    judged(lake, "vitals", DAY)
    monkeypatch.setattr(validate, "_failures", lambda *_: {"mean_is_not_least": 1})
    with pytest.raises(DerivedDayError, match="vitals_by_hour, 2026-11-21: mean_is_not_least; nothing was written"):
        derive(lake.settings, CONTRACTS, "vitals_by_hour", [DAY])
    assert lake.rows("vitals_by_hour") == []


def test_a_failed_day_is_mended_by_judging_and_making_it_again(lake: Lake, defs: dg.Definitions, instance) -> None:
    gate, hours = dg.AssetKey(["quality", "vitals"]), dg.AssetKey(["lake", "vitals_by_hour"])
    lake.commit(good_rows())
    assert not run(defs, instance, hours).success
    assert run(defs, instance, gate).success
    result = run(defs, instance, hours)
    assert materialised(result, hours) == [PARTITION]
    (event,) = result.get_asset_materialization_events()
    assert {
        "dagster/partition_row_count",
        "added_bytes",
        "snapshot_id",
        "rows_by_hour",
    } <= event.materialization.metadata.keys()


def test_a_plot_is_as_high_as_its_greatest_hour() -> None:
    assert plot([0, 1, 8]).startswith("`| ▁█|`")
    assert plot([0] * 24).endswith("at most 0 rows an hour")
