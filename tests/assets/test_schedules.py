"""When runs are requested: simulated hours, no run is made."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import definitions
from warehouse.settings import Settings

GATE, MINUTES, VITALS = (
    dg.AssetKey(["quality", "vitals"]),
    dg.AssetKey(["lake", "vitals_by_minute"]),
    dg.AssetKey(["lake", "vitals"]),
)
OLD, NEW = "2026-11-01", "2026-11-21"
HALF_PAST = datetime(2026, 11, 22, 3, 30, tzinfo=UTC)

# Dagster's own evaluation for tests uses a parameter that Dagster calls beta.
pytestmark = pytest.mark.filterwarnings("ignore:Parameter `include_sources`")


class Clockwork:
    """The automation's evaluations, one after another, at times of our choosing."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self._defs, self._instance, self._cursor = defs, instance, None
        self.requested(HALF_PAST)

    def grew(self, *days: str) -> None:
        for day in days:
            self._instance.report_runless_asset_event(dg.AssetMaterialization(VITALS, partition=day))

    def requested(self, at: datetime) -> dict[dg.AssetKey, set[str]]:
        result = self._evaluated(at)
        return {key: result.get_requested_partitions(key) for key in (GATE, MINUTES)}

    def all_requested(self, at: datetime) -> set[str]:
        """Every asset of which any day is requested."""
        result = self._evaluated(at)
        keys = self._defs.resolve_asset_graph().materializable_asset_keys
        return {key.to_user_string() for key in keys if result.get_requested_partitions(key)}

    def _evaluated(self, at: datetime) -> dg.EvaluateAutomationConditionsResult:
        result = dg.evaluate_automation_conditions(self._defs, self._instance, cursor=self._cursor, evaluation_time=at)
        self._cursor = result.cursor
        return result


@pytest.fixture
def clockwork(tmp_path: Path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Clockwork(definitions(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)})), instance)


def test_a_day_that_grew_is_judged_and_rolled_up_at_the_next_full_hour(clockwork: Clockwork) -> None:
    clockwork.grew(NEW)
    assert clockwork.requested(HALF_PAST + timedelta(minutes=1)) == {GATE: set(), MINUTES: set()}
    assert clockwork.requested(HALF_PAST + timedelta(minutes=38)) == {GATE: {NEW}, MINUTES: {NEW}}


def test_an_old_day_that_late_rows_reopen_is_judged_again(clockwork: Clockwork) -> None:
    clockwork.grew(OLD, NEW)
    clockwork.requested(HALF_PAST + timedelta(minutes=1))
    assert clockwork.requested(HALF_PAST + timedelta(minutes=38))[GATE] == {OLD, NEW}


def test_a_day_that_did_not_grow_is_left_alone(clockwork: Clockwork) -> None:
    clockwork.grew(NEW)
    clockwork.requested(HALF_PAST + timedelta(minutes=38))
    assert clockwork.requested(HALF_PAST + timedelta(minutes=98)) == {GATE: set(), MINUTES: set()}


def test_all_that_is_derived_of_a_judged_table_follows_and_nothing_else(clockwork: Clockwork) -> None:
    clockwork.grew(NEW)
    assert clockwork.all_requested(HALF_PAST + timedelta(minutes=38)) == {
        "quality/vitals", "lake/vitals_by_minute", "lake/vitals_by_hour", "lake/ward_summary", "lake/device_health",
        "lake/sensor_faults", "lake/population_by_day", "lake/research_cohort",
    }  # fmt: skip
