"""Upkeep in Dagster, on a real lake: asked for where it is due, and shown with what was before and after."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from assets.upkeep import upkeep_asset, upkeep_key, upkeep_sensor
from tests.warehouse.conftest import lake_settings
from tests.warehouse.fenced import new_table, no_rows
from tests.warehouse.upkeep.kept import small_files
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.settings import Settings
from warehouse.upkeep import health

CONTRACTS = load_contracts()
TABLES = [CONTRACTS.table(name) for name in ("vitals", "duplicates", "labs")]


@pytest.fixture
def folder_lake(tmp_path: Path) -> Settings:
    """A lake in a folder: the real formats, no server."""
    return lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FILES_LIMIT", 3)


def asked(settings: Settings, instance: dg.DagsterInstance) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, resources={"settings": settings})
    return upkeep_sensor(TABLES, CONTRACTS)(context)


def test_a_table_with_little_to_do_is_let_be(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=5)
    with dg.DagsterInstance.ephemeral() as instance:
        result = asked(folder_lake, instance)
    assert not result.run_requests
    assert "none of which is due" in (result.skip_reason.skip_message if result.skip_reason else "")


@pytest.mark.usefixtures("few_are_many")
def test_what_accumulates_asks_for_a_run_of_that_table_alone(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=5)
    with dg.DagsterInstance.ephemeral() as instance:
        (request,) = asked(folder_lake, instance).run_requests or ()
        (again,) = asked(folder_lake, instance).run_requests or ()
    assert request.asset_selection == [upkeep_key("vitals")]
    assert request.run_key == again.run_key


@pytest.mark.usefixtures("few_are_many")
def test_a_run_shows_before_after_and_why(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=5)
    asset = upkeep_asset(CONTRACTS.table("vitals"), CONTRACTS)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([asset], instance=instance, resources={"settings": folder_lake})
        (materialisation,) = done.get_asset_materialization_events()
        shown = materialisation.materialization.metadata
        assert (shown["files_after"].value, shown["rows_after"].value) == (1, 50)
        assert "| files | 5 | 1 |" in shown["changes"].value
        assert "small" in shown["reason"].value
        assert not asked(folder_lake, instance).run_requests


def test_a_table_that_must_not_be_touched_fails_and_says_why(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table = open_catalog(folder_lake).load_table(identifier)
    table.append(no_rows().cast(table.schema().as_arrow()))
    asset = upkeep_asset(CONTRACTS.table("vitals"), CONTRACTS)
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([asset], instance=instance, resources={"settings": folder_lake}, raise_on_error=False)
        (failure,) = done.get_step_failure_events()
    assert not done.success
    assert "how far it has read" in str(failure.step_failure_data.error)
