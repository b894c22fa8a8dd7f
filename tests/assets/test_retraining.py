"""Dagster makes a model of stays on a real store: set, trees, figures, decision; and looks for drift the day after."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import training
from assets.definitions import definitions
from assets.drift import DRIFT, drift_schedule
from assets.training import STEPS, WHY, model_key
from pipelines import retraining
from pipelines.clinical.sepsis.lake_set import held_out
from tests.assets.test_runs import run
from tests.pipelines.clinical.sepsis.stays import SMALL
from tests.pipelines.test_retraining import NOW, PATIENTS, TABLES, outcomes, put, readings
from tests.warehouse.conftest import lake_settings
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.models.shadow_rows import said_outcomes
from warehouse.settings import Settings

DAY = NOW.date().isoformat()


@pytest.fixture
def lake(tmp_path: Path, store: str) -> Settings:
    place = f"s3://warehouse/{uuid.uuid4().hex[:10]}"
    settings = lake_settings(tmp_path / "home", place, WARDSTREAM_S3_ENDPOINT=store)
    for name in TABLES:
        create_table(open_catalog(settings), settings.namespace, load_contracts().table(name), table_lock(settings))
    put(settings, "vitals", readings())
    put(settings, "alert_feedback", outcomes())
    return settings


def shown(result: dg.ExecuteInProcessResult, key: dg.AssetKey) -> dict[str, Any]:
    (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == key]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_dagster_trains_judges_and_shows_a_model_and_looks_for_drift(
    lake: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warehouse.analytics import Analytics

    monkeypatch.setattr(retraining, "LEAST_STAYS", 30)
    monkeypatch.setattr(retraining, "Recipe", lambda: SMALL)
    with Analytics(lake) as analytics:
        said = said_outcomes(analytics).to_pylist()
    septic = [row["subject_token"] for row in said if row["outcome"] == "sepsis"]
    assert training._outcomes(lake) == (PATIENTS, sum(held_out(septic)))
    defs = definitions(lake)
    result = run(defs, instance, *map(model_key, STEPS), **{WHY: "drift, new_population: a test"})
    assert result.success
    learnt = shown(result, model_key("sepsis_training_set"))
    assert learnt["stays"] + learnt["held_out_stays"] == PATIENTS
    model = shown(result, model_key("sepsis_model"))
    assert model["version"] in Path(model["card"]).read_text()
    decided = shown(result, model_key("sepsis_promotion"))
    assert (decided["promoted"], decided["role"]) == (False, "refused")
    assert decided["reason"].startswith("drift, new_population: a test; ")

    looked = shown(run(defs, instance, DRIFT, **{"dagster/partition": DAY}), DRIFT)
    assert looked["model"].endswith("(built-in)")
    assert looked["stays"] == PATIENTS
    assert looked["stays_with_an_outcome"] == PATIENTS
    assert "<h1>Drift on" in Path(looked["page"]).read_text()


def test_the_day_before_is_looked_at_each_morning(lake: Settings) -> None:
    context = dg.build_schedule_context(scheduled_execution_time=NOW, resources={"settings": lake})
    request = drift_schedule()(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-11-21"
