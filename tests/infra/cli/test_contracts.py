"""`wardstream contracts …`: what it prints and how it exits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from infra.cli import contracts
from warehouse.contract import FOLDER
from warehouse.settings import Settings


def test_plan_shows_what_is_missing_apply_makes_it_and_says_so_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contracts.plan(settings, as_json=True) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {change["kind"] for change in planned["topics"] + planned["tables"]} == {"create"}
    assert contracts.apply(settings, dry_run=True) == 0
    assert "+ table vitals: 21 columns" in capsys.readouterr().out
    assert contracts.apply(settings) == 0
    assert f"+ topic {settings.topic('device.vitals')}: 4 partitions" in capsys.readouterr().out
    assert contracts.apply(settings, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"done": []}
    assert contracts.plan(settings) == 0
    assert capsys.readouterr().out == "real is as declared\n"


def test_a_part_that_is_down_is_exit_2_and_named(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    down = replace(settings, catalog_uri="http://127.0.0.1:9")
    assert contracts.plan(down) == contracts.apply(down) == 2
    assert capsys.readouterr().err.startswith("wardstream contracts: the catalog at http://127.0.0.1:9 does not answer")


def test_lint_is_silent_about_nothing_and_exits_1_for_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert contracts.lint() == 0
    shutil.copy(FOLDER / "rejects.odcs.yaml", tmp_path / "duplicates.odcs.yaml")
    assert contracts.lint(own=tmp_path, as_json=True) == 1
    (finding,) = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (finding["file"], finding["field"]) == ("duplicates.odcs.yaml", "name")


def test_docs_check_tells_a_stale_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "DICTIONARY.md"
    monkeypatch.setattr("infra.planning.dictionary.PATH", page)
    page.write_text("old", "utf-8")
    assert contracts.docs(check=True) == 1
    assert contracts.docs() == 0
    assert contracts.docs(check=True) == 0
    assert page.read_text("utf-8") == (FOLDER / "DICTIONARY.md").read_text("utf-8")
