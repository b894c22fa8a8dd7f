"""The command line itself: its summaries, where `--home` may stand, and its usage errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app, home_first

AT_EIGHTY_COLUMNS = {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}


@pytest.mark.parametrize("group", [[], ["contracts"], ["rejects"], ["catalog"], ["upkeep"], ["erase"]])
def test_no_summary_of_a_command_is_cut_at_eighty_columns(group: list[str]) -> None:
    shown = CliRunner(env=AT_EIGHTY_COLUMNS).invoke(app, [*group, "--help"]).output
    listed = shown.partition("Commands:")[2].splitlines()[1:]
    assert listed
    assert all(line.startswith("  ") and not line.startswith("     ") for line in listed), "one line a command"
    assert not any(line.endswith("...") for line in listed)


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output.split()[0]) == (0, "wardstream")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["status", "--home", "x", "--json"], ["--home", "x", "status", "--json"]),
        (["sql", "--home=x", "SELECT 1"], ["--home=x", "sql", "SELECT 1"]),
        (["--home", "x", "status"], ["--home", "x", "status"]),
        (["sql", "--", "--home", "x"], ["sql", "--", "--home", "x"]),
        (["status", "--home"], ["--home", "status"]),
    ],
)
def test_a_home_may_be_named_after_the_command(typed: list[str], wanted: list[str]) -> None:
    assert home_first(typed) == wanted


def test_no_part_at_all_is_a_usage_error(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--home", str(tmp_path), "up", "--parts", ""])
    assert done.exit_code == 2
    assert "--parts names none; parts are kafka" in done.output
