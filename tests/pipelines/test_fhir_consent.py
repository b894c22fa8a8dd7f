"""FHIR Consents: what can be said as a grant or a revoke is, and what narrows a permission is never dropped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.decode.fhir_consent import NotReadError, read_consent
from warehouse.consent.decision import Provision, in_force

EXAMPLES = Path(__file__).parents[3] / "shared" / "data" / "fhir_r4_examples"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def consent(policy: str = "OPTIN", scope: str = "research", **more: Any) -> dict[str, Any]:
    whole = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": scope}]},
        "patient": {"reference": "Patient/P000123"},
        "dateTime": "2026-05-11T10:00:00+02:00",
        "policyRule": {"coding": [{"code": policy}]},
    }
    return {**whole, **more}


def said(resource: dict[str, Any], now: datetime = NOW) -> list[tuple]:
    names = ("action", "category", "timestamp", "expires", "reason")
    return [tuple(message.get(name) for name in names) for message in read_consent(resource, now).messages]


def purposes(*codes: str, **more: Any) -> dict[str, Any]:
    return {"provision": {"purpose": [{"code": code} for code in codes], **more}}


def test_an_opt_in_to_research_is_a_grant_and_an_opt_out_a_revoke() -> None:
    assert said(consent()) == [("GRANT", "research", "2026-05-11T08:00:00Z", None, None)]
    assert said(consent("OPTOUT")) == [("REVOKE", "research", "2026-05-11T08:00:00Z", None, None)]
    assert read_consent(consent(), NOW).messages[0]["patientId"] == "P000123"


def test_purposes_name_the_categories_and_go_before_the_scope() -> None:
    assert [s[1] for s in said(consent(scope="patient-privacy", **purposes("HMARKT", "HRESCH")))] == [
        "marketing",
        "research",
    ]
    assert said(consent(**purposes("TREAT"))) == [], "of what rests on law the registry hears nothing"
    assert said(consent("OPTOUT", "treatment")) == []


def test_a_grant_of_a_day_begins_when_the_day_is_over_and_ends_with_its_last() -> None:
    period: dict[str, Any] = {"provision": {"period": {"start": "2026-01-31", "end": "2026-12"}}}
    assert said(consent(**period)) == [("GRANT", "research", "2026-02-01T00:00:00Z", "2027-01-01T00:00:00Z", None)]


def test_a_revoke_of_a_day_holds_from_its_first_instant_and_outlives_what_was_granted_on_it() -> None:
    period: dict[str, Any] = {"provision": {"period": {"start": "2026-01-31"}}}
    first, again = said(consent("OPTOUT", **period))
    assert first == ("REVOKE", "research", "2026-01-31T00:00:00Z", None, None)
    assert again == ("REVOKE", "research", "2026-02-01T00:00:00Z", None, "ambiguous"), "the purge is asked for once"
    early = datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert [s[2] for s in said(consent("OPTOUT", **period), early)] == ["2026-01-31T00:00:00Z", "2026-01-31T10:00:00Z"]


def is_permitted(*sent: dict[str, Any]) -> bool:
    """Whether research is permitted when all that these Consents say is in the registry."""
    told = [
        Provision(m["action"], m["category"], m["scope"], datetime.fromisoformat(m["timestamp"]), NOW)
        for resource in sent
        for m in read_consent(resource, NOW).messages
    ]
    return in_force(told, "research", "device.vitals", NOW).permitted


@pytest.mark.parametrize(
    ("granted", "withdrawn"),
    [
        ({"dateTime": "2026-11-01"}, {"dateTime": "2026-11-01", "status": "inactive"}),
        ({"dateTime": "2026-11-01"}, {"dateTime": "2026-11-01", "status": "entered-in-error"}),
        ({"dateTime": "2026-11-01T10:00:00Z"}, {"dateTime": "2026-11-01T10:00:00Z", "status": "inactive"}),
        ({"dateTime": "2025"}, {"dateTime": "2025", "policy": "OPTOUT"}),
        ({"dateTime": "2026-11-20"}, {"dateTime": "2026-11-20", "policy": "OPTOUT"}),
        ({"dateTime": "2026-10"}, {"dateTime": "2026-10-31", "policy": "OPTOUT"}),
        ({"dateTime": "2026-11-20"}, {"dateTime": "2026-11-20", "provision": {"actor": [{"x": 1}]}}),
    ],
)
def test_a_withdrawal_decides_whatever_its_date_leaves_open(granted: dict[str, Any], withdrawn: dict[str, Any]) -> None:
    assert is_permitted(consent(**granted)), "the grant alone permits"
    assert not is_permitted(consent(**granted), consent(**withdrawn))


@pytest.mark.parametrize(
    "narrowing", ["actor", "action", "class", "code", "data", "securityLabel", "provision", "type"]
)
def test_what_is_narrowed_is_no_grant_and_purges_nothing(narrowing: str) -> None:
    (told,) = said(consent(provision={narrowing: [{"x": 1}]}))
    assert (told[0], told[4]) == ("REVOKE", "ambiguous")


def test_what_is_no_longer_active_stops_and_a_draft_says_nothing() -> None:
    assert said(consent(status="inactive"))[0][0::4] == ("REVOKE", "ambiguous")
    assert said(consent(status="draft")) == []


def test_an_opt_out_of_nothing_in_particular_is_one_of_everything() -> None:
    assert said(consent("OPTOUT", "patient-privacy"))[0][:2] == ("REVOKE", "all")
    assert said(consent("OPTIN", "patient-privacy")) == [], "an opt-in that does not name research grants none"


@pytest.mark.parametrize(
    "broken", [{"dateTime": "yesterday"}, {"dateTime": "2026-05-11T10:00:00"}, {"patient": {}}, {"resourceType": "X"}]
)
def test_what_cannot_be_read_is_refused_without_a_value(broken: dict[str, Any]) -> None:
    with pytest.raises(NotReadError) as refused:
        read_consent(consent(**broken), NOW)
    assert "yesterday" not in str(refused.value)


def test_a_repeat_is_known_and_another_version_is_another() -> None:
    one, other = (read_consent(each, NOW).messages[0]["event_id"] for each in (consent(), consent(id="2")))
    assert one == read_consent(consent(), NOW).messages[0]["event_id"] != other


@pytest.mark.skipif(not EXAMPLES.exists(), reason="HL7's examples are not beside this checkout")
def test_none_of_hl7_s_own_examples_is_read_as_a_grant_of_research() -> None:
    """All are narrowed, speak of treatment, or name no purpose."""
    read = {
        path.stem: [m["action"] for m in read_consent(json.loads(path.read_text()), NOW).messages]
        for path in sorted(EXAMPLES.glob("Consent-*.json"))
    }
    assert len(read) == 12
    assert "GRANT" not in {action for actions in read.values() for action in actions}
    assert read["Consent-consent-example-Emergency"] == []
    assert set(read["Consent-consent-example-Out"]) == {"REVOKE"}
