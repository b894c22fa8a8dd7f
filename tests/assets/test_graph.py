"""The graph Dagster shows: a list to be read, and what every asset carries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import definitions
from warehouse.settings import Settings

LINEAGE = """\
kafka/clinical.alerts <- kafka/device.vitals
kafka/clinical.alerts.withheld <- kafka/device.vitals
kafka/device.vitals <-
lake/alerts <- kafka/clinical.alerts
lake/alerts_withheld <- kafka/clinical.alerts.withheld
lake/duplicates <- kafka/clinical.alerts kafka/clinical.alerts.withheld kafka/device.vitals
lake/quality_results <- quality/vitals
lake/rejects <- kafka/clinical.alerts kafka/clinical.alerts.withheld kafka/device.vitals
lake/vitals <- kafka/device.vitals
lake/vitals_by_minute <- lake/vitals quality/vitals
quality/vitals <- lake/vitals"""


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return definitions(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path_factory.mktemp("home"))}))


def test_lineage_is_as_listed(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): " ".join(sorted(parent.to_user_string() for parent in graph.get(key).parent_keys))
        for key in graph.get_all_asset_keys()
    }
    assert "\n".join(f"{key} <- {parents[key]}".rstrip() for key in sorted(parents)) == LINEAGE


def test_only_verdicts_and_roll_ups_are_dagster_s_to_make(defs: dg.Definitions) -> None:
    made = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    assert made == {"quality/vitals", "lake/vitals_by_minute"}


def test_every_asset_has_owner_group_kind_and_description(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.owners, spec.key
        assert spec.group_name, spec.key
        assert spec.kinds, spec.key
        assert spec.description, spec.key


def test_topics_and_tables_show_their_columns(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        if spec.key.path[0] != "quality":
            assert spec.metadata["dagster/column_schema"].columns, spec.key


def test_daily_assets_share_one_partitioning_and_have_a_freshness_policy(defs: dg.Definitions) -> None:
    daily = [spec for spec in defs.resolve_all_asset_specs() if spec.partitions_def]
    assert len({spec.partitions_def for spec in daily}) == 1
    assert {spec.key.to_user_string() for spec in daily if not spec.freshness_policy} == {"quality/vitals"}


def test_sensors_ship_running(defs: dg.Definitions) -> None:
    assert {sensor.name: sensor.default_status for sensor in defs.sensors or ()} == {
        "observations": dg.DefaultSensorStatus.RUNNING,
        "automation": dg.DefaultSensorStatus.RUNNING,
    }


def test_loading_is_quick_because_engines_stay_out(tmp_path: Path) -> None:
    """Great Expectations alone takes longer to import than the definitions may take to load."""
    heavy = "great_expectations", "pandas", "pyiceberg", "duckdb", "apache_beam", "confluent_kafka"
    program = f"import sys, assets.definitions; print([name for name in {heavy!r} if name in sys.modules])"
    root = Path(__file__).parents[2]
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=root, capture_output=True, text=True)
    assert (loaded.stdout.strip(), loaded.stderr) == ("[]", "")
