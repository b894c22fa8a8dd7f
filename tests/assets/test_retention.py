"""A night's run shows what is due, and does of it what the site's setting allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.retention import retention_asset
from tests.warehouse.conftest import lake_settings
from tests.warehouse.retention.made import MadeLake, cold, days


@pytest.fixture
def ward(tmp_path: Path) -> MadeLake:
    """Twelve days of readings up to today."""
    made = MadeLake(cold(lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")))
    made.ingest(days(datetime.now(UTC).date() - timedelta(days=11), 12))
    return made


def run(made: MadeLake, setting: str) -> dict[str, object]:
    """The metadata of a run under a setting."""
    asset = retention_asset(made.contracts.retention_classes["clinical_signals"], made.contracts)
    settings = replace(made.settings, retention=setting)
    result = dg.materialize([asset], resources={"settings": settings}, instance=dg.DagsterInstance.ephemeral())
    (event,) = result.get_asset_materialization_events()
    return {name: each.value for name, each in event.materialization.metadata.items()}


def test_by_default_a_run_plans_and_does_nothing(ward: MadeLake) -> None:
    shown = run(ward, ward.settings.retention)
    assert (shown["setting"], shown["days_due"], shown["receipts"]) == ("plan", 8, 0)
    assert "| vitals | cool | 7 | 21 |" in str(shown["plan"])
    assert len(ward.days()) == 12
    assert all(state.is_warm(live) for state in ward.states("vitals") for live in state.files)


def test_move_moves_and_takes_nothing_out(ward: MadeLake) -> None:
    shown = run(ward, "move")
    assert (shown["receipts"], shown["rows_removed"]) == (7, 0)
    assert len(ward.days()) == 12


def test_apply_does_both(ward: MadeLake) -> None:
    shown = run(ward, "apply")
    assert (shown["receipts"], shown["rows_removed"]) == (8, 3)
    assert "examples" in str(shown["monthly_cost"])
    assert len(ward.days()) == 11
