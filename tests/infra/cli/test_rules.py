"""`wardstream rules`: what is in force, and whether a file can be used."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from infra.cli.rules import check, list_rules
from warehouse.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PACK = 'pack: site\nversion: "2"\nfrom: {}\nrules: {{qsofa: {{sbp: 95, wards: [ICU-1]}}}}\n'


def settings(home: Path) -> Settings:
    return Settings.from_environment({"WARDSTREAM_HOME": str(home)})


def test_the_list_has_every_rule_and_the_pack_that_comes(tmp_path, capsys):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "site.yaml").write_text(PACK.format("2026-11-22T13:00:00Z"))
    assert list_rules(settings(tmp_path), NOW, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pack"]["rules"]["qsofa"]["sbp"] == 100
    assert told["coming"][0]["rules"]["qsofa"] | {"sbp": 95.0, "version": "2"} == told["coming"][0]["rules"]["qsofa"]
    assert list_rules(settings(tmp_path), NOW) == 0
    shown = capsys.readouterr().out
    assert "threshold.lactate" in shown
    assert "from 2026-11-22T13:00:00Z: site, version 2" in shown


def test_a_folder_with_a_bad_file_is_told_and_the_rest_is_shown(tmp_path, capsys):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "site.yaml").write_text("pack: x")
    assert list_rules(settings(tmp_path), NOW) == 1
    told = capsys.readouterr()
    assert "news2" in told.out
    assert "site.yaml: Object missing required field `version`" in told.err


def test_a_file_is_checked_with_what_it_changes(tmp_path, capsys):
    file = tmp_path / "site.yaml"
    file.write_text(PACK.format("2026-11-22T13:00:00Z"))
    assert check(file, NOW) == 0
    shown = capsys.readouterr().out
    assert "qsofa: wards all → ICU-1, sbp 100 → 95" in shown
    assert "ahead" not in shown
    file.write_text(PACK.format("2026-11-22T12:00:05Z"))
    assert check(file, NOW) == 0
    assert "not 10 s ahead" in capsys.readouterr().out


def test_a_file_that_cannot_be_used_says_where_it_is_wrong(tmp_path, capsys):
    file = tmp_path / "site.yaml"
    file.write_text(PACK.format("2026-11-22T13:00:00Z").replace("95", "low"))
    assert check(file, NOW) == 1
    assert "site.yaml: rules.qsofa: Expected `float`, got `str` - at `$.sbp`" in capsys.readouterr().out
    assert check(tmp_path / "none.yaml", NOW) == 2
