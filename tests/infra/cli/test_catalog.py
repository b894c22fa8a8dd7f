"""`wardstream catalog verify`: the verdict on standard output, progress beside it, and a code for each end."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from infra.cli import catalog
from infra.cli.main import app
from warehouse.catalog import open_catalog
from warehouse.settings import Settings
from warehouse.verification.plan import Plan, Subject

SMALL = Plan(writers=2, commits=6, seconds=250.0, meetings=3, created_names=2, killed_writers=2, objects=3)
NEVER_STARTED = replace(SMALL, seconds=0.0)
pytestmark = pytest.mark.timeout(420)


def test_the_embedded_kind_of_catalog_and_store_is_fit(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog.verify(settings, SMALL, as_json=True) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert (shown["verdict"], shown["because"], shown["left_behind"]) == ("fit", [], [])
    assert {check["outcome"] for check in shown["checks"]} == {"passed"}
    assert all(check["evidence"] and check["why"] for check in shown["checks"])
    assert shown["namespace"].startswith("wardstream_verify_")
    assert "racing commits" in err
    assert open_catalog(settings).list_namespaces() == []


def test_a_catalog_with_a_fault_is_not_fit_and_the_text_says_because_of_what(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = "tests.warehouse.broken_catalogs:lets_first_commits_overwrite"
    asked = replace(SMALL, only=frozenset({"impossible requirements"}))
    subject = Subject(settings, "wardstream_verify_cli", open_catalog=broken)
    assert catalog.verify_subject(subject, asked) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "not fit for Wardstream, because of: impossible requirements"
    assert "  failed       impossible requirements: accepted on: no snapshot yet" in lines
    assert "  not checked  history: not asked for" in lines


def test_checks_that_were_not_made_are_no_verdict(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog.verify(settings, NEVER_STARTED) == 3
    out = capsys.readouterr().out
    assert out.splitlines()[-1].startswith("no verdict, because of: one winner a head, ")
    assert "passed" not in out


def test_a_part_that_is_away_is_exit_3_and_named_without_credentials(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    away = replace(settings, catalog_uri="http://me:secret@127.0.0.1:9", embedded_catalog=False)
    assert catalog.verify(away, SMALL, as_json=True) == 3
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "verdict": "unreachable",
        "part": "catalog",
        "error": "ConnectionError",
        "catalog": "http://127.0.0.1:9",
        "store": f"{settings.s3_endpoint} ({settings.warehouse})",
    }
    assert "the catalog at http://127.0.0.1:9 cannot be used (ConnectionError)" in err
    assert "secret" not in out + err


def test_a_uri_that_means_no_catalog_is_a_wrong_setting(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert catalog.verify(replace(settings, catalog_uri="foo://nowhere"), SMALL) == 2
    assert "WARDSTREAM_CATALOG_URI must be" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--writers", "1"], ["--commits", "0"], ["--seconds", "1"], ["--only", "luck"]])
def test_a_trial_that_would_prove_nothing_is_refused(wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["catalog", "verify", *wrong]).exit_code == 2
