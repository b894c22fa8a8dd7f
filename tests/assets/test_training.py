"""What starts a retraining: drift that retraining can mend, and nothing that is to be mended elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import training
from assets.training import MONITOR, WHY, drift_sensor
from pipelines.clinical.sepsis import drift_monitors
from pipelines.clinical.sepsis.gate import LEAST_SEPTIC
from pipelines.retraining import LEAST_STAYS
from tests.warehouse.conftest import lake_settings
from tests.warehouse.models.conftest import with_tables
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.models.looks import Looks
from warehouse.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake", WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1")
    with_tables(made)
    return made


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough of them; `tests/assets/test_retraining.py` has real ones."""
    monkeypatch.setattr(training, "_outcomes", lambda settings: (LEAST_STAYS, LEAST_SEPTIC))


def cause(look: str, kind: str, retrains: bool, minutes: int = 0) -> dict[str, Any]:
    return {
        "look": look, "version": "aa11", "kind": kind, "place": "all stays", "items": ["Creatinine"], "share": 0.5,
        "because": f"{kind} was found", "remedy": "mend it", "retrains": retrains, "stays": 500, "tests": 900,
        "made_at": NOON + timedelta(minutes=minutes),
    }  # fmt: skip


def asked(settings: Settings) -> dg.SensorResult:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"settings": settings})
        result = drift_sensor()(context)
    assert isinstance(result, dg.SensorResult)
    return result


def report(settings: Settings, *rows: dict[str, Any]) -> None:
    Looks(open_catalog(settings), settings.namespace, load_contracts(), "test").report(rows)


def test_no_look_starts_nothing(settings: Settings) -> None:
    assert asked(settings).run_requests == []


def test_a_unit_starts_nothing_and_its_remedy_is_said(settings: Settings) -> None:
    report(settings, cause("1", "unit_change", False))
    result = asked(settings)
    assert result.run_requests == []
    assert "unit_change: mend it" in str(result.skip_reason)


def test_the_sensor_and_the_retraining_need_as_many_outcomes() -> None:
    assert training.LEAST_OUTCOMES == LEAST_STAYS


def test_other_patients_start_one_retraining_that_says_why(settings: Settings, outcomes: None) -> None:
    report(settings, cause("1", "unit_change", False))
    report(settings, cause("2", "new_population", True, 1), cause("2", "frozen_sensor", False, 1))
    (request,) = asked(settings).run_requests or []
    assert request.run_key == "aa11 new_population 2026-W47"
    assert request.tags[WHY] == "drift, new_population: new_population was found"


def test_the_same_drift_asks_once_a_week(settings: Settings, outcomes: None) -> None:
    report(settings, cause("1", "new_population", True))
    first = asked(settings).run_requests or []
    report(settings, cause("2", "new_population", True, 600))
    again = asked(settings).run_requests or []
    report(settings, cause("3", "new_population", True, 7 * 24 * 60))
    later = asked(settings).run_requests or []
    assert [each.run_key for each in first] == [each.run_key for each in again]
    assert [each.run_key for each in later] != [each.run_key for each in first]


def change(look: str, minutes: int, version: str = "aa11") -> dict[str, Any]:
    """Of the errors' monitor, which tells it once."""
    return cause(look, "performance", True, minutes) | {"items": [MONITOR], "version": version}


DAY = 24 * 60


def test_a_change_that_is_told_once_asks_until_there_was_a_run_whatever_later_looks_find(
    settings: Settings, outcomes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_outcomes", lambda settings: (12, 60))
    report(settings, change("1", 0), cause("1", "unit_change", False))
    assert asked(settings).run_requests == []
    monkeypatch.setattr(training, "_outcomes", lambda settings: (LEAST_STAYS, LEAST_SEPTIC))
    report(settings, cause("2", "none", False, 3))
    (request,) = asked(settings).run_requests or []
    report(settings, cause("3", "none", False, 8 * DAY))
    (later,) = asked(settings).run_requests or []
    assert request.run_key == later.run_key == "aa11 performance 2026-W47"
    assert request.tags[WHY] == "drift, performance: performance was found"


def test_with_what_else_a_look_asked_for_its_change_asks_for_one_run_only(settings: Settings, outcomes: None) -> None:
    report(settings, change("1", 0), cause("1", "new_population", True))
    (first,) = asked(settings).run_requests or []
    report(settings, cause("2", "none", False, DAY))
    (again,) = asked(settings).run_requests or []
    assert first.run_key == again.run_key


@pytest.mark.parametrize(("version", "days"), [("bb22", 1), ("aa11", 29)])
def test_a_change_of_another_model_or_of_long_ago_asks_no_more(
    settings: Settings, outcomes: None, version: str, days: int
) -> None:
    report(settings, change("1", 0, version))
    report(settings, cause("2", "none", False, days * DAY))
    assert asked(settings).run_requests == []


def test_the_monitor_is_called_as_its_causes_call_it() -> None:
    (told,) = drift_monitors.causes(drift_monitors.ERRORS, [drift_monitors.Change(0.01, 0.05, 500, 50)])
    assert list(told.items) == [MONITOR]


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ((12, 60), "12 stays have an outcome, 200 are needed"),
        ((900, 49), "49 septic stays are kept for the gate, which needs 50"),
    ],
)
def test_a_retraining_that_cannot_be_made_for_want_of_outcomes_is_not_started_and_it_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, there: tuple[int, int], says: str
) -> None:
    monkeypatch.setattr(training, "_outcomes", lambda settings: there)
    report(settings, cause("1", "new_population", True))
    result = asked(settings)
    assert result.run_requests == []
    assert says in str(result.skip_reason)


def test_a_look_at_a_day_to_come_hides_none(settings: Settings, outcomes: None) -> None:
    report(settings, cause("1", "new_population", True) | {"day": NOON - timedelta(days=1)})
    report(settings, cause("2", "none", False, 1) | {"day": NOON + timedelta(days=365)})
    assert len(asked(settings).run_requests or []) == 1


def test_a_look_at_an_older_day_starts_nothing(settings: Settings, outcomes: None) -> None:
    report(settings, cause("1", "none", False) | {"day": NOON - timedelta(days=1)})
    report(settings, cause("2", "new_population", True, 60) | {"day": NOON - timedelta(days=9)})
    assert asked(settings).run_requests == []


def test_a_look_that_finds_nothing_any_more_ends_it(settings: Settings) -> None:
    report(settings, cause("1", "new_population", True))
    report(settings, cause("2", "none", False, 1))
    assert asked(settings).run_requests == []
