"""`wardstream erase`: a request is taken, approved, done, certified and checked; nobody is named on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.cli import erase
from infra.erasure import compose
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import PEOPLE, Ward
from tests.warehouse.retention.made import filled
from warehouse.audit import FILE, verify
from warehouse.erasure.inventory import places
from warehouse.erasure.run import Surroundings
from warehouse.erasure.standing import columns_standing
from warehouse.erasure.stores import coverage_of
from warehouse.settings import Settings

GONE = PEOPLE[3]
TABLES = ("vitals", "adt_events", "data_deletions", "erasure_requests", "erasure_receipts", "retention_holds")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A lake in a folder, without broker: topics are left out, and so is what must answer for them."""
    made = lake_settings(
        tmp_path / "home",
        f"file://{tmp_path}/home/lake",
        WARDSTREAM_KAFKA_BOOTSTRAP="127.0.0.1:1",
        WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:1",
    )
    ward = Ward(made, tables=TABLES)
    ward.ingest(days=[made_day()])
    ward.vault.close()

    def surroundings(settings, contracts, vault, erasure) -> Surroundings:
        def coverage():
            tables = [p for p in places(contracts, columns_standing(erasure), ()) if p.name.startswith("table:")]
            return coverage_of(tables, {store.name for store in erasure.stores()})

        return Surroundings(coverage=coverage)

    monkeypatch.setattr(compose, "surroundings_of", surroundings)
    return made


def made_day():
    from tests.warehouse.erasure.made import DAYS

    return DAYS[0]


def said(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_request_goes_from_the_desk_to_a_checked_certificate(settings: Settings, capsys, monkeypatch) -> None:
    assert erase.request(settings, GONE, "letter of the third", category=None, verified=False, as_json=True) == 0
    request = said(capsys)["request"]
    assert erase.plan(settings, request, as_json=True) == 0
    assert said(capsys)["located"]["table:vitals"] == 4
    assert erase.certificate(settings, request) == 1
    assert erase.approve(settings, request, "passport seen", as_json=True) == 0
    done = said(capsys)
    assert done["requests"][0]["state"] == "certified"
    assert request in Path(done["page"]).read_text()
    assert erase.status(settings, request, as_json=True) == 0
    states = said(capsys)["requests"]
    assert [each["state"] for each in states][:3] == ["received", "verified", "fenced"]
    assert states[0]["due_in_days"] == settings.erasure_deadline_days == 28
    assert erase.public_key(settings) == 0
    public = capsys.readouterr().out.strip()
    assert erase.verify(settings, request, patient=GONE, traces=None, public=public, as_json=True) == 0
    assert said(capsys)["so"] is True
    assert erase.verify(settings, request, patient=GONE, traces=None, public="A" * 43 + "=", as_json=True) == 1
    assert "signed by this house" in said(capsys)["wrong"][0]
    assert erase.verify(settings, request, patient=GONE, traces=None, as_json=True) == 0
    assert said(capsys)["so"] is True
    assert erase.page(settings, as_json=True) == 0
    officer = Path(said(capsys)["page"])
    assert officer == settings.home / "erasure" / "index.html"
    assert "files searched for the person" in officer.read_text()
    assert GONE not in officer.read_text()
    assert erase.verify(settings, request, patient=PEOPLE[0], traces=None, as_json=True) == 1
    assert said(capsys)["wrong"]
    assert erase.request(settings, GONE, "letter of the fourth", category=None, verified=True) == 1
    assert "erasure was done before" in capsys.readouterr().err
    assert erase.readmit(settings, GONE, "treated again") == 0
    assert erase.readmit(settings, GONE, "treated again") == 1
    assert erase.request(settings, GONE, "letter of the fifth", category=None, verified=True) == 0
    audit = settings.home / FILE
    assert verify(audit) >= 4
    assert GONE not in audit.read_text()
    assert GONE not in capsys.readouterr().out


def test_the_outer_key_is_turned_once_a_key_went_and_goes_when_no_backup_is_kept(settings: Settings, capsys) -> None:
    assert erase.rotate(settings, as_json=True) == 0
    assert said(capsys) == {"begun": False, "destroyed": 0, "next": None}
    assert erase.request(settings, GONE, "letter of the third", category=None, verified=True) == 0
    capsys.readouterr()
    assert erase.rotate(settings, as_json=True) == 0
    turned = said(capsys)
    days = datetime.fromisoformat(turned["next"]) - datetime.now(UTC)
    assert (turned["begun"], turned["destroyed"], round(days / timedelta(days=1))) == (True, 0, 14)
    assert erase.rotate(replace(settings, vault_backup_days=0)) == 0
    assert "1 outer keys destroyed" in capsys.readouterr().out


def test_messages_of_erased_people_are_told_with_the_requests(settings: Settings, capsys) -> None:
    ward = Ward(settings, new=False)
    ward.create("rejects")
    rows = filled(
        "rejects", [made_day()], ward.contracts, stream=["adt.events"], reason=["erased"], subject_token=[None],
        kafka_time=[datetime.now(UTC)],
    )  # fmt: skip
    ward.fenced("rejects").append_derived(rows, {"u": 1})
    ward.vault.close()
    assert erase.status(settings, as_json=True) == 0
    (refused,) = said(capsys)["refused_messages"]
    assert (refused["stream"], refused["messages"]) == ("adt.events", 1)
    assert erase.status(settings) == 0
    assert "they may be in treatment here" in "".join(capsys.readouterr())


def test_what_cannot_be_taken_is_refused_with_the_way_out(settings: Settings, capsys) -> None:
    assert erase.request(settings, "nobody", "letter of the third", category=None, verified=False) == 1
    assert "must match" in capsys.readouterr().err
    assert erase.request(settings, GONE, "short", category=None, verified=False) == 1
    assert "8 letters" in capsys.readouterr().err
    assert erase.request(settings, GONE, "letter of the third", category="operations", verified=True) == 1
    assert "rest on law" in capsys.readouterr().err
    assert erase.status(settings, "e-none") == 1
    assert "lists them" in capsys.readouterr().err


def test_coverage_says_what_nobody_answers_for(settings: Settings, capsys) -> None:
    assert erase.coverage(settings, as_json=True) == 0
    assert said(capsys)["complete"] is True
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField, StringType

    from warehouse.catalog import open_catalog

    name = (settings.namespace, "copy_for_a_study")
    open_catalog(settings).create_table(name, Schema(NestedField(1, "patient_id", StringType())))
    assert erase.coverage(settings) == 1
    assert "table:copy_for_a_study" in capsys.readouterr().out
    assert erase.request(settings, GONE, "letter of the third", category=None, verified=True) == 0
    assert erase.run(settings, []) == 1
    assert "table:copy_for_a_study" in capsys.readouterr().err
