"""A site's own classes, a plan with its reasons and cost, an act with its receipt, an undo with its hold."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from infra.cli import retention
from tests.warehouse.conftest import lake_settings
from tests.warehouse.retention.made import MadeLake, at, cold, days
from warehouse.audit import FILE, verify
from warehouse.settings import Settings

SITE = """
clinical_signals:
  kept: ten days in this test
  because: it is a test
  hot_days: 7
  cold_after_days: 3
  gone_after_days: 10
  counted_by: table
  undo_days: 5
"""


@pytest.fixture
def folder_lake(tmp_path: Path) -> Settings:
    return replace(lake_settings(tmp_path / "home", f"file://{tmp_path}/lake"), embedded_s3=False)


@pytest.fixture
def ward(folder_lake: Settings, tmp_path: Path) -> MadeLake:
    """Twelve days of readings up to today, under a site's own class."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "retention_classes.yaml").write_text(SITE)
    made = MadeLake(replace(cold(folder_lake), contracts=own))
    made.ingest(days(datetime.now(UTC).date() - timedelta(days=11), 12))
    return made


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_plan_says_what_why_and_at_what_cost(ward: MadeLake, capsys: pytest.CaptureFixture[str]) -> None:
    assert retention.plan(ward.settings, None) == 0
    shown = capsys.readouterr().out
    assert "vitals: take out 1" not in shown
    assert "vitals: move to the cold store 7 days" in shown
    assert "EXAMPLES" in shown
    assert retention.plan(ward.settings, "vitals", as_json=True) == 0
    plan = said(capsys)
    kinds = [action["kind"] for action in plan["actions"]]
    assert (kinds.count("remove"), kinds.count("cool")) == (1, 7)
    assert all(action["reason"] for action in plan["actions"])
    assert plan["cost"]["after"]["monthly"] < plan["cost"]["before"]["monthly"]
    assert plan["cost"]["requests"]["cold_put"] == 7


def test_a_plan_of_another_time_changes_nothing(ward: MadeLake, capsys: pytest.CaptureFixture[str]) -> None:
    retention.plan(ward.settings, "vitals", as_of=at(date(2020, 1, 1)), as_json=True)
    assert said(capsys)["actions"] == []
    # A clock that runs on over an idle table makes one more day old: the newest is over then.
    retention.plan(ward.settings, "vitals", as_of=at(date(2099, 1, 1)), as_json=True)
    plan = said(capsys)
    assert len([action for action in plan["actions"] if action["kind"] == "remove"]) == 2
    assert "no newer day" in plan["spared"][0]["reason"]
    assert retention.apply(ward.settings, "vitals", dry_run=True) == 0
    assert len(ward.files()) == 12


def test_what_was_applied_is_told_undone_and_held(ward: MadeLake, capsys: pytest.CaptureFixture[str]) -> None:
    assert retention.apply(ward.settings, "vitals", as_json=True) == 0
    done = said(capsys)
    assert done["refused"] == []
    (removed,) = [each for each in done["receipts"] if each["act"] == "removed"]
    assert ward.rows().num_rows == 33
    retention.receipts(ward.settings, as_json=True)
    assert len(said(capsys)["receipts"]) == 8
    assert retention.undo(ward.settings, removed["receipt"], "short") == 1
    assert retention.undo(ward.settings, removed["receipt"], "the audit asks for it", as_json=True) == 0
    assert said(capsys)["hold"] == f"undo-{removed['receipt']}"
    assert ward.rows().num_rows == 36
    assert retention.apply(ward.settings, "vitals") == 0
    assert "nothing was due" in capsys.readouterr().out
    assert retention.lift_hold(ward.settings, f"undo-{removed['receipt']}", "the audit is over") == 0
    assert verify(ward.settings.home / FILE) == 3


def test_a_hold_tells_what_left_before_it(ward: MadeLake, capsys: pytest.CaptureFixture[str]) -> None:
    retention.apply(ward.settings, "vitals")
    assert retention.place_hold(ward.settings, "vitals", "the court asks for it") == 0
    assert "retention undo" in capsys.readouterr().out
    assert retention.list_holds(ward.settings, as_json=True) == 0
    (hold,) = said(capsys)["holds"]
    assert (hold["table"], hold["first_day"]) == ("vitals", None)
    assert retention.place_hold(ward.settings, "vitales", "the court asks for it") == 1
    assert retention.lift_hold(ward.settings, "h-none", "the court is done") == 1


def test_classes_show_the_sites_own_beside_the_houses(ward: MadeLake, capsys: pytest.CaptureFixture[str]) -> None:
    assert retention.classes(ward.settings, as_json=True) == 0
    shown = {each["name"]: each for each in said(capsys)["classes"]}
    assert shown["clinical_signals"]["because"] == "it is a test"
    assert shown["clinical_record"]["gone_after_days"] == 3653
    assert "vitals" in shown["clinical_signals"]["tables"]


def test_without_the_tables_of_holds_and_receipts_nothing_is_done(
    folder_lake: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retention.apply(folder_lake, None) == 1
    assert "contracts apply" in capsys.readouterr().err


def test_a_table_that_is_none_and_prices_that_are_none_are_named(
    ward: MadeLake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retention.plan(ward.settings, "vitales") == 2
    assert "no table vitales" in capsys.readouterr().err
    assert retention.plan(replace(ward.settings, prices={"warm": "cheap"}), "vitals") == 2
    assert "WARDSTREAM_PRICES takes" in capsys.readouterr().err
