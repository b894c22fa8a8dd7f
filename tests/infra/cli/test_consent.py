"""What a patient allows, told with since when, by which message and why; and FHIR Consents sent or not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra.cli import consent
from infra.cli.sql import sql
from tests.warehouse.conftest import lake_settings
from tests.warehouse.consent.lake import CONSENTING, NOW, REVOKED, made, registry_rows, said
from tests.warehouse.test_analytics import created
from warehouse.consent.decision import GRANT, REVOKE
from warehouse.contract import load_contracts
from warehouse.identity import subject_token
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.vault import open_vault

PATIENT = "P000123"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A lake in a folder: three patients, one of them known by identifier, and one message that could not be read."""
    folder = tmp_path_factory.mktemp("consent")
    settings = lake_settings(
        folder / "home",
        f"file://{folder}/lake",
        WARDSTREAM_S3_ENDPOINT="http://127.0.0.1:9",
        WARDSTREAM_S3_ACCESS_KEY="x",
    )
    vault = open_vault(settings.vault_uri, time.monotonic)
    token = subject_token(vault.token_key(), "urn:wardstream:patient-id", PATIENT)
    vault.close()
    histories = {
        CONSENTING: [said(GRANT, 5)],
        REVOKED: [said(REVOKE, 8), said(GRANT, 1)],
        token: [said(GRANT, 2, scope="lab.results", sequence=1), said(GRANT, 3, "marketing")],
    }
    created(settings, "consent_updates").append(registry_rows(histories))
    schema = arrow_schema(load_contracts().table("rejects"))
    reject = {
        "stream": "patient.consent.updates", "stage": "decode", "reason": "malformed_json", "subject_token": REVOKED,
        "sealed_payload": b"-", "sealed_under": "person", "size_bytes": 1, "topic_id": "topic", "kafka_partition": 0,
        "kafka_offset": 9, "kafka_time": said(GRANT, 9).at, "ingest_time": said(GRANT, 9).at,
    }  # fmt: skip
    created(settings, "rejects").append(pa.Table.from_pylist([reject], schema))
    return settings


def shown(capsys: pytest.CaptureFixture[str], settings: Settings, *args: Any, **options: Any) -> dict[str, Any]:
    assert consent.show(settings, *args, as_json=True, **options) == 0
    return json.loads(capsys.readouterr().out)


def by_category(told: dict[str, Any]) -> dict[tuple[str, str], tuple[bool, str]]:
    return {(e["category"], e["stream"]): (e["permitted"], e["because"]) for e in told["in_force"]}


def test_what_is_in_force_names_its_reason_since_when_and_its_message(settings: Settings, capsys) -> None:
    told = shown(capsys, settings, CONSENTING)
    (research,) = [each for each in told["in_force"] if each["category"] == "research"]
    assert (research["permitted"], research["because"], research["stream"]) == (True, "granted", "every stream")
    assert research["since"].startswith("2026-01-06")
    assert research["messages"] == [{"topic_id": "topic", "partition": 0, "offset": 0}]
    assert by_category(told)["marketing", "every stream"] == (False, "never_said")


def test_a_revoke_that_arrived_before_its_grant_is_in_force(settings: Settings, capsys) -> None:
    told = shown(capsys, settings, REVOKED, whole=True)
    assert by_category(told)["research", "every stream"] == (False, "revoked")
    assert [each["action"] for each in told["history"]] == ["GRANT", "REVOKE"]
    assert told["not_understood"] == 1


def test_a_patient_named_by_identifier_is_shown_by_stream_and_never_printed(settings: Settings, capsys) -> None:
    told = shown(capsys, settings, None, PATIENT)
    found = by_category(told)
    assert found["research", "lab.results"] == (True, "granted")
    assert found["research", "device.vitals"] == (False, "never_said")
    assert consent.show(settings, None, PATIENT, whole=True) == 0
    text = capsys.readouterr()
    assert "number 1" in text.out
    assert PATIENT not in text.out + text.err


def test_nobody_and_wrong_use_are_told(settings: Settings, capsys) -> None:
    assert by_category(shown(capsys, settings, "nobody")) == {
        (category, "every stream"): (False, "never_said") for category in ("marketing", "research")
    }
    assert consent.show(settings, None) == 2
    assert consent.show(settings, "t", PATIENT) == 2
    assert consent.show(settings, None, "Robert'); DROP") == 1
    assert "Robert" not in capsys.readouterr().err


def test_a_consent_that_cannot_be_read_sends_nothing_and_is_named_by_its_place(tmp_path: Path, capsys) -> None:
    file = tmp_path / "consents.ndjson"
    right = {
        "resourceType": "Consent", "status": "active", "scope": {"coding": [{"code": "research"}]},
        "patient": {"reference": f"Patient/{PATIENT}"}, "dateTime": "2026-05-11",
        "policyRule": {"coding": [{"code": "OPTIN"}]},
    }  # fmt: skip
    file.write_text("\n".join(json.dumps(each) for each in (right, {**right, "dateTime": "canary"})))
    settings = Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)})
    assert consent.send(settings, [file]) == 1
    told = capsys.readouterr().err
    assert "resource 2: dateTime or provision.period.start is no time; nothing was sent" in told
    assert "canary" not in told
    file.write_text(json.dumps({"resourceType": "Bundle", "entry": [{"resource": right}, {"resource": {}}]}))
    assert consent.send(settings, [file], dry_run=True) == 0
    assert capsys.readouterr().out.startswith("1: GRANT research (granted)")
    assert consent.send(settings, [tmp_path / "absent.json"]) == 2


def test_an_export_for_research_holds_only_rows_of_who_consents(tmp_path: Path, capsys) -> None:
    place = {"WARDSTREAM_S3_ENDPOINT": "http://127.0.0.1:9", "WARDSTREAM_S3_ACCESS_KEY": "x"}
    settings = lake_settings(tmp_path / "home", f"file://{tmp_path}/lake", **place)
    made(settings)
    created(settings, "exports")  # no file without a record of it
    file = tmp_path / "rows.csv"
    asked = "SELECT kafka_offset AS n FROM vitals ORDER BY n"
    assert sql(settings, asked, output=file, purpose="research", clock=lambda: NOW) == 0
    assert file.read_text().split() == ["n", "1", "2"]
    told = capsys.readouterr().err
    assert "consent_updates" in told
    assert "for research" in told
    assert sql(settings, "SELECT * FROM rejects", purpose="research") == 1
    assert "table rejects does not serve research" in capsys.readouterr().err
    assert sql(settings, asked, purpose="fun") == 2
    assert "--purpose is one of care, operations" in capsys.readouterr().err
