"""Recalibration as Dagster runs it: what it shows, and that nothing is made of too few outcomes."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.recalibration import CALIBRATION, recalibration_asset, recalibration_schedule
from assets.training import WHY, model_key
from pipelines.clinical.sepsis import promotion
from tests.pipelines.test_retraining import PATIENTS, TABLES, outcomes, put, readings
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.models.registry import Registry
from warehouse.settings import Settings


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")
    catalog, contracts = open_catalog(settings), load_contracts()
    for name in TABLES:
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
    put(settings, "vitals", readings())
    put(settings, "alert_feedback", outcomes())
    return settings


def run(settings: Settings) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [recalibration_asset()],
            instance=instance,
            resources={"settings": settings},
            tags={WHY: "a test of it"},
            raise_on_error=False,
        )


def test_too_few_outcomes_fail_the_run_and_are_counted(lake: Settings) -> None:
    result = run(lake)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert f"{PATIENTS} stays" in str(failure.step_failure_data.error)
    assert registered(lake) == []


def test_a_run_shows_risks_before_and_after_and_the_gate_s_word(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "LEAST_OUTCOMES", PATIENTS)
    monkeypatch.setattr(promotion, "LEAST_FITTED", 30)
    result = run(lake)
    assert result.success
    (made,) = result.asset_materializations_for_node(f"models__{CALIBRATION}")
    assert made.asset_key == model_key(CALIBRATION)
    assert registered(lake) == [made.metadata["version"].value]
    assert made.metadata["stays"].value == PATIENTS
    assert "calibration_error" in str(made.metadata["risks"].value)
    assert made.metadata["promoted"].value is False
    assert "20 septic stays" in str(made.metadata["reason"].value)


def test_the_schedule_ships_stopped() -> None:
    assert recalibration_schedule().default_status == dg.DefaultScheduleStatus.STOPPED


def registered(settings: Settings) -> list[str]:
    return list(Registry(settings, load_contracts(), open_catalog(settings), "test").models())
