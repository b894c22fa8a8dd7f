"""FHIR R4 Consent resources as messages of `patient.consent.updates`.

Holds: what of a Consent says something about research or marketing, and how much of it a grant or a revoke can say.
Does not hold: files and sending (`infra/cli/consent_send.py`), the decision (`warehouse/consent`).

A grant or a revoke is all that our registry knows; a Consent can say far more (who may, and which documents). What
narrows a permission is never dropped: a Consent that cannot be said as one of the two becomes a revoke for the reason
`ambiguous`, which stops the use and purges nothing. What speaks of treatment, operations or payment says nothing to the
registry: they rest on law. (HL7 FHIR R4, Consent: policyRule is the base rule, nested provisions its exceptions.)

A date without a time of day may mean any instant of its day, month or year. A grant is said for the first instant after
it, a revoke for both ends: for its first instant, and again for the one after it, since a revoke that is said only for
the first would be older than the grant of the same date and never decide. The registry refuses what lies ahead, so a
revoke that is sent before its day is over is said for `CLOCKS` ahead instead. A Consent that ended (it was withdrawn,
replaced or wrong: FHIR does not say which) takes back its own grant, whose date it still has, and nothing is purged.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from warehouse.consent.decision import ALL, AMBIGUOUS, CLOCKS, GRANT, REVOKE

PATIENT_SYSTEM = "urn:wardstream:patient-id"
OF_PURPOSE = {
    **dict.fromkeys(
        ("HRESCH", "RESCH", "BIORCH", "CLINTRCH", "CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH", "DSRCH", "POARCH",
         "TRANSRCH"),
        "research",
    ),
    **dict.fromkeys(("HMARKT", "MARKT"), "marketing"),
}  # fmt: skip
"""v3-ActReason codes that rest on consent -> category."""
BASES = {"OPTIN": GRANT, "OPTOUT": REVOKE}
"""v3-ActCode of a policyRule -> what holds but for exceptions."""
_ENDED = ("inactive", "entered-in-error")
_NARROWING = ("actor", "action", "class", "code", "data", "dataPeriod", "securityLabel", "provision", "type")
_EVENTS = uuid.UUID("a0a2b6c1-5d6c-5a0f-8c53-5c0e5a1f9e7d")
_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\Z")


class NotReadError(ValueError):
    """No Consent, or one that does not say of whom or of when. Names the field, never a value."""


@dataclass(frozen=True, slots=True)
class ReadConsent:
    """A Consent as the registry takes it.

    Attributes:
        messages: what to send; none where it says nothing to the registry.
        because: why so, in a few words that name no value.
    """

    messages: tuple[dict[str, Any], ...]
    because: str


def read_consent(resource: Mapping[str, Any], now: datetime, patient: str | None = None) -> ReadConsent:
    """What one Consent says. `now`: when it is sent, with a zone. `patient`: whose it is, where the resource names the
    patient otherwise than we do.

    Raises `NotReadError`.
    """
    if not isinstance(resource, Mapping) or resource.get("resourceType") != "Consent":
        raise NotReadError("resourceType is not Consent")
    status = resource.get("status")
    if status not in ("active", *_ENDED):
        return ReadConsent((), "its status says that nothing holds yet")
    categories = _categories(resource)
    action, narrowed = _rule(resource)
    if status in _ENDED:
        action, narrowed = REVOKE, "it is no longer active"
    if not categories:
        if action == GRANT and not narrowed:
            return ReadConsent((), "it names neither research nor marketing")
        categories = () if _speaks_of_care(resource) else (ALL,)
    if not categories:
        return ReadConsent((), "it speaks of what rests on law")
    whose = patient or _patient(resource)
    messages = [
        message
        for category in categories
        for message in (
            [_grant(resource, whose, category)]
            if action == GRANT
            else _revokes(resource, whose, category, bool(narrowed), now)
        )
    ]
    return ReadConsent(tuple(messages), narrowed or ("granted" if action == GRANT else "revoked"))


def _categories(resource: Mapping[str, Any]) -> tuple[str, ...]:
    """Research or marketing, where the Consent names them."""
    named = {OF_PURPOSE[code] for code in _purposes(resource) if code in OF_PURPOSE}
    if not _purposes(resource) and "research" in _codes(resource.get("scope")):
        named = {"research"}
    return tuple(sorted(named))


def _speaks_of_care(resource: Mapping[str, Any]) -> bool:
    """Whether it speaks of something, and of nothing that rests on consent."""
    return bool(_purposes(resource)) or bool({"treatment", "adr"} & set(_codes(resource.get("scope"))))


def _purposes(resource: Mapping[str, Any]) -> list[str]:
    return [str(each.get("code")) for each in _list(_provision(resource).get("purpose")) if isinstance(each, Mapping)]


def _rule(resource: Mapping[str, Any]) -> tuple[str, str]:
    """What holds, and what of the Consent is more than that; then it is no grant any more."""
    bases = {BASES[code] for code in _codes(resource.get("policyRule")) if code in BASES}
    if len(bases) != 1:
        return REVOKE, "its base rule is neither opt-in nor opt-out"
    (action,) = bases
    narrowing = [name for name in _NARROWING if _provision(resource).get(name)]
    if narrowing:
        return REVOKE, f"its rule is narrowed by {', '.join(narrowing)}"
    return action, ""


def _grant(resource: Mapping[str, Any], patient: str, category: str) -> dict[str, Any]:
    message = _message(resource, patient, GRANT, category, _begins(resource, last=True))
    end = (_provision(resource).get("period") or {}).get("end")
    return message | ({"expires": _said(_moment(end, "provision.period.end", last=True))} if end else {})


def _revokes(
    resource: Mapping[str, Any], patient: str, category: str, is_ambiguous: bool, now: datetime
) -> list[dict[str, Any]]:
    """A revoke for the first instant its date may mean, and one that no grant of the same date outlives; only the first
    leads to a purge, which need not be asked for twice."""
    first, last = _begins(resource, last=False), _begins(resource, last=True)
    unread = {"reason": AMBIGUOUS}
    told = [_message(resource, patient, REVOKE, category, first) | (unread if is_ambiguous else {})]
    again = min(last, now + CLOCKS)
    if again > first:
        told.append(_message(resource, patient, REVOKE, category, again, "the end of its date") | unread)
    return told


def _begins(resource: Mapping[str, Any], last: bool) -> datetime:
    begins = (_provision(resource).get("period") or {}).get("start") or resource.get("dateTime")
    return _moment(begins, "dateTime or provision.period.start", last)


def _message(
    resource: Mapping[str, Any], patient: str, action: str, category: str, at: datetime, which: str = ""
) -> dict[str, Any]:
    return {
        "event_id": f"fhir-{uuid.uuid5(_EVENTS, category + which + _canonical(resource))}",
        "patientId": patient,
        "action": action,
        "category": category,
        "scope": ALL,
        "timestamp": _said(at),
    }


def _patient(resource: Mapping[str, Any]) -> str:
    """Our identifier of the patient, or the last part of a reference."""
    named = resource.get("patient") or {}
    identifier = named.get("identifier") or {}
    if identifier.get("system") == PATIENT_SYSTEM and identifier.get("value"):
        return str(identifier["value"])
    if isinstance(named.get("reference"), str):
        return named["reference"].rpartition("/")[2]
    raise NotReadError("patient has neither our identifier nor a reference")


def _moment(text: object, field: str, last: bool) -> datetime:
    """A FHIR dateTime. One without time of day is its first instant, or the first one after it where `last`: a grant
    begins late, and ends when the time it names is over."""
    try:
        date = _DATE.match(str(text))
        if date is None:
            moment = datetime.fromisoformat(str(text))
            if moment.tzinfo is None:
                raise ValueError
            return moment.astimezone(UTC)
        return (
            _after(*date.groups()) if last else datetime(int(date[1]), int(date[2] or 1), int(date[3] or 1), tzinfo=UTC)
        )
    except (ValueError, OverflowError):
        raise NotReadError(f"{field} is no time") from None


def _after(year: str, month: str | None, day: str | None) -> datetime:
    """The first instant after a year, a month or a day."""
    if day:
        return datetime(int(year), int(month or 1), int(day), tzinfo=UTC) + timedelta(days=1)
    if month:
        return datetime(int(year) + int(month) // 12, int(month) % 12 + 1, 1, tzinfo=UTC)
    return datetime(int(year) + 1, 1, 1, tzinfo=UTC)


def _said(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _canonical(resource: Mapping[str, Any]) -> str:
    return msgspec.json.encode(resource, order="sorted").decode()


def _provision(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    given = resource.get("provision")
    return given if isinstance(given, Mapping) else {}


def _codes(concept: object) -> list[str]:
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    return [str(each.get("code")) for each in _list(codings) if isinstance(each, Mapping)]


def _list(given: object) -> list[Any]:
    return given if isinstance(given, list) else []
