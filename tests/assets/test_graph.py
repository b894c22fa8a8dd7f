"""The graph Dagster shows: a list to be read, and what every asset carries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import definitions
from assets.derive import derivable
from warehouse.contract import load_contracts
from warehouse.settings import Settings

LINEAGE = Path(__file__).with_name("lineage.txt")
"""What follows from what, a line an asset. Read it when it changes: it is what people see in Dagster."""


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return definitions(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path_factory.mktemp("home"))}))


def test_lineage_is_as_listed(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): " ".join(sorted(parent.to_user_string() for parent in graph.get(key).parent_keys))
        for key in graph.get_all_asset_keys()
    }
    assert "\n".join(f"{key} <- {parents[key]}".rstrip() for key in sorted(parents)) == LINEAGE.read_text().strip()


def test_only_verdicts_and_derived_tables_are_dagster_s_to_make(defs: dg.Definitions) -> None:
    made = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
    derived = {f"lake/{table.name}" for table in load_contracts().tables() if table.derived}
    assert {key for key in made if key.startswith("lake/")} == derived
    assert {key.partition("/")[0] for key in made - derived} == {
        "erasure", "models", "quality", "replay", "retention", "upkeep",
    }  # fmt: skip


def test_every_derived_table_has_something_that_makes_it() -> None:
    assert [table.name for table in load_contracts().tables() if table.derived and not derivable(table)] == []


def test_groups_and_owners_are_the_contracts(defs: dg.Definitions) -> None:
    spec = next(spec for spec in defs.resolve_all_asset_specs() if spec.key.path == ["lake", "labs"])
    assert (spec.group_name, list(spec.owners)) == ("laboratory", ["team:laboratory"])


def test_every_asset_has_owner_group_kind_and_description(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.owners, spec.key
        assert spec.group_name, spec.key
        assert spec.kinds, spec.key
        assert spec.description, spec.key


def test_topics_and_tables_show_their_columns(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        if spec.key.path[0] not in ("erasure", "models", "quality", "replay", "retention", "upkeep"):
            assert spec.metadata["dagster/column_schema"].columns, spec.key


def test_daily_assets_share_one_partitioning_and_have_a_freshness_policy(defs: dg.Definitions) -> None:
    daily = [spec for spec in defs.resolve_all_asset_specs() if spec.partitions_def and spec.key.path[0] != "erasure"]
    assert len({spec.partitions_def for spec in daily}) == 1
    assert all(spec.freshness_policy or spec.key.path[0] in ("models", "quality", "replay") for spec in daily)


def test_sensors_ship_running(defs: dg.Definitions) -> None:
    assert {sensor.name: sensor.default_status for sensor in defs.sensors or ()} == {
        "observations": dg.DefaultSensorStatus.RUNNING,
        "automation": dg.DefaultSensorStatus.RUNNING,
        "upkeep": dg.DefaultSensorStatus.RUNNING,
        "erasure": dg.DefaultSensorStatus.RUNNING,
        "sepsis_drift": dg.DefaultSensorStatus.RUNNING,
    }


def test_upkeep_stands_apart_from_the_lineage(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    kept = [key for key in graph.get_all_asset_keys() if key.path[0] == "upkeep"]
    assert {key.path[1] for key in kept} == {table.name for table in load_contracts().tables()}
    assert all(not graph.get(key).parent_keys and not graph.get(key).child_keys for key in kept)


def test_retention_runs_daily_a_schedule_a_class_none_at_the_same_minute(defs: dg.Definitions) -> None:
    schedules = [schedule for schedule in defs.schedules or () if schedule.name.startswith("retention_")]
    assert {schedule.name for schedule in schedules} == {
        f"retention_{name}" for name in ("clinical_record", "clinical_signals", "derived", "operational", "rejects")
    }
    assert len({schedule.cron_schedule for schedule in schedules}) == len(schedules)
    assert {schedule.default_status for schedule in schedules} == {dg.DefaultScheduleStatus.RUNNING}


def test_loading_is_quick_because_engines_stay_out(tmp_path: Path) -> None:
    """Great Expectations alone takes longer to import than the definitions may take to load."""
    heavy = "great_expectations", "pandas", "pyiceberg", "duckdb", "apache_beam", "confluent_kafka"
    program = f"import sys, assets.definitions; print([name for name in {heavy!r} if name in sys.modules])"
    root = Path(__file__).parents[2]
    loaded = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=root, capture_output=True, text=True)
    assert (loaded.stdout.strip(), loaded.stderr) == ("[]", "")
