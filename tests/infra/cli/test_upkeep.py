"""`wardstream upkeep`: what it prints and how it ends, on a lake in a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli import upkeep
from infra.cli.main import app
from tests.warehouse.conftest import lake_settings
from tests.warehouse.upkeep.kept import loaded, small_files
from warehouse.settings import Settings


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    """Five small files; the store counts as a site's own, so that no supervisor is asked for."""
    settings = replace(lake_settings(tmp_path / "home", f"file://{tmp_path}/lake"), embedded_s3=False)
    small_files(settings, commits=5)
    return settings


def test_status_tells_each_table_s_health(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert upkeep.status(lake, as_json=True) == 0
    (duplicates, vitals) = sorted(json.loads(capsys.readouterr().out)["tables"], key=lambda t: t["table"])
    assert (duplicates["table"], vitals["table"]) == ("duplicates", "vitals")
    assert 0.5 < vitals["health"] < 1
    assert "4 of 5 files are small" in vitals["reason"]
    assert upkeep.status(lake) == 0
    assert "vitals" in capsys.readouterr().out


def test_a_plan_changes_nothing(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = loaded(lake).metadata_location
    assert upkeep.run(lake, ["vitals"], dry_run=True) == 0
    assert upkeep.plan(lake, "vitals") == 0
    assert "compact 2026-03-01: 5 files" in capsys.readouterr().out
    assert upkeep.plan(lake, "vitals", as_json=True) == 0
    assert len(json.loads(capsys.readouterr().out)["compact"][0]["files"]) == 5
    assert loaded(lake).metadata_location == before


def test_a_run_says_what_it_did(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert upkeep.run(lake, [], as_json=True) == 0
    done = {table["table"]: table for table in json.loads(capsys.readouterr().out)["tables"]}
    assert done["vitals"]["files"] == [5, 1]
    assert done["vitals"]["rows"] == [50, 50]
    assert upkeep.run(lake, ["vitals"]) == 0
    assert "vitals:" in capsys.readouterr().out


def test_an_unknown_table_is_refused_with_those_there_are(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert upkeep.run(lake, ["vital"]) == 2
    assert "tables are" in capsys.readouterr().err
    assert upkeep.run(lake, ["labs"]) == 2
    assert "not made yet" in capsys.readouterr().err


def test_a_site_s_own_store_is_not_ours_to_keep(lake: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert upkeep.store(lake) == 2
    assert "a site's own" in capsys.readouterr().err


def test_the_group_is_wired() -> None:
    shown = CliRunner().invoke(app, ["upkeep", "--help"]).output
    assert all(name in shown for name in ("status", "plan", "run", "store"))
