"""A home whose parts are down does not ask another home's broker and store, which listen on the same ports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.cli import catalog, contracts, rejects
from infra.cli.reach import LAKE_AND_BROKER, unreachable
from infra.cli.sql import sql
from infra.services.home import PidFile, state_path, write_state
from warehouse.settings import Settings
from warehouse.verification.plan import Plan

SITE = {"WARDSTREAM_KAFKA_BOOTSTRAP": "b:1", "WARDSTREAM_S3_ENDPOINT": "http://s:1"}
COMMANDS: dict[str, Callable[[Settings], int]] = {
    "sql": lambda settings: sql(settings, "SELECT count(*) FROM vitals"),
    "rejects list": lambda settings: rejects.list_rejects(settings),
    "rejects show": lambda settings: rejects.show_reject(settings, "device.vitals", 0, 0),
    "contracts plan": lambda settings: contracts.plan(settings),
    "contracts apply": lambda settings: contracts.apply(settings),
}


def home(tmp_path: Path, **given: str) -> Settings:
    return Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path / "home"), **given})


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.timeout(5)
def test_a_home_that_is_down_is_named_at_once_with_what_starts_it(tmp_path: Path, command: str, capsys) -> None:
    settings = home(tmp_path)
    assert COMMANDS[command](settings) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(settings.home) in err
    assert "`wardstream up`" in err
    assert not settings.home.exists()


def test_the_catalog_of_a_home_that_is_down_gets_no_verdict(tmp_path: Path, capsys) -> None:
    assert catalog.verify(home(tmp_path), Plan(), as_json=True) == 3
    assert json.loads(capsys.readouterr().out)["error"] == "not up"


def test_what_a_site_runs_itself_is_asked_though_nothing_is_up_here(tmp_path: Path) -> None:
    assert unreachable(home(tmp_path, **SITE), LAKE_AND_BROKER) == ""
    assert "nothing is up" in unreachable(home(tmp_path, WARDSTREAM_S3_ENDPOINT="http://s:1"), LAKE_AND_BROKER)
    assert unreachable(home(tmp_path, WARDSTREAM_S3_ENDPOINT="http://s:1")) == ""


def test_a_part_that_was_left_out_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    settings = home(tmp_path)
    supervisor = PidFile(settings)
    supervisor.acquire()
    assert unreachable(settings, LAKE_AND_BROKER) == ""
    write_state(state_path(settings), {"parts": [{"name": "kafka"}]})
    assert unreachable(settings, ("kafka",)) == ""
    assert unreachable(settings).startswith("store was left out")
    supervisor.release()
