"""`wardstream catalog verify`: whether the configured catalog and store are fit for Wardstream, with the evidence.

Holds: what is printed (the verdict on standard output, progress on standard error) and the exit codes.
Does not hold: the checks (`warehouse/verification/`).

Exit codes: 0 fit, 1 not fit, 2 a setting cannot be used, 3 no verdict: catalog or store cannot be reached, or a check
that is needed could not be carried out, 130 Ctrl-C (what was made is removed all the same).
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from warehouse.settings import Settings
    from warehouse.verification.plan import Plan, Subject
    from warehouse.verification.verdict import Check, Verdict

FIT, NOT_FIT, WRONG_SETTING, NO_VERDICT, INTERRUPTED = 0, 1, 2, 3, 130
CODES = {"fit": FIT, "not fit": NOT_FIT, "undecided": NO_VERDICT}

UNKNOWN_CATALOG = ("ArgumentError", "NoSuchModuleError")
"""Kinds of error that speak of the URI, not of a server."""


def verify(settings: Settings, plan: Plan, *, as_json: bool = False) -> int:
    """Try the catalog and the store of the settings, print the verdict, return the exit code."""
    from warehouse.verification.plan import NAMESPACE, Subject

    return verify_subject(Subject(settings, NAMESPACE + secrets.token_hex(4)), plan, as_json=as_json)


def verify_subject(subject: Subject, plan: Plan, *, as_json: bool = False) -> int:
    """The same in a given namespace."""
    from warehouse.verification.verification import CatalogUnreachableError
    from warehouse.verification.verification import verify as verified

    if reason := unreachable(subject.settings):
        return _no_verdict(subject.settings, "store", reason, "not up", as_json)
    began = time.monotonic()
    try:
        verdict = verified(subject, plan, _tell)
    except CatalogUnreachableError as failure:
        return _unreachable(subject.settings, failure.part, failure.error, as_json)
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    shown = _as_json(verdict, subject, time.monotonic() - began)
    print(json.dumps(shown) if as_json else _as_text(verdict, shown))
    return CODES[verdict.fitness]


def _as_json(verdict: Verdict, subject: Subject, seconds: float) -> dict[str, Any]:
    """The verdict, what was examined, and every check with its evidence, figures and why it matters."""
    return {
        "verdict": verdict.fitness,
        "because": list(verdict.because),
        **_places(subject.settings),
        "namespace": subject.namespace,
        "seconds": round(seconds, 1),
        "checks": [_check_as_json(check) for check in verdict.checks],
        "left_behind": list(verdict.left_behind),
    }


def _check_as_json(check: Check) -> dict[str, Any]:
    from warehouse.verification.judgement import INFORMATIVE, NEEDED

    return {
        "name": check.name,
        "needed": check.needed,
        "why": NEEDED.get(check.name) or INFORMATIVE[check.name],
        "outcome": check.outcome,
        "evidence": check.evidence,
        "counts": dict(check.counts),
    }


def _as_text(verdict: Verdict, shown: Mapping[str, Any]) -> str:
    needed = [check for check in shown["checks"] if check["needed"]]
    others = [check for check in shown["checks"] if not check["needed"]]
    lines = [f"catalog  {shown['catalog']}", f"store    {shown['store']}", ""]
    lines += ["needed:", *(line for check in needed for line in _check_as_text(check))]
    lines += ["for information (Wardstream does not rely on it):"]
    lines += [line for check in others for line in _check_as_text(check)]
    lines += [f"left behind: {what}" for what in verdict.left_behind]
    return "\n".join([*lines, "", _conclusion(verdict)])


def _check_as_text(check: Mapping[str, Any]) -> list[str]:
    lines = [f"  {check['outcome']:<12} {check['name']}: {check['evidence']}"]
    if check["outcome"] != "passed":
        lines.append(f"{'':15}{'why it matters' if check['needed'] else 'why it is not needed'}: {check['why']}")
    return lines


def _conclusion(verdict: Verdict) -> str:
    because = f"because of: {', '.join(verdict.because)}"
    return {
        "fit": "fit for Wardstream",
        "not fit": f"not fit for Wardstream, {because}",
        "undecided": f"no verdict, {because} (not checked)",
    }[verdict.fitness]


def _unreachable(settings: Settings, part: str, error: str, as_json: bool) -> int:
    if error in UNKNOWN_CATALOG:
        _tell(
            "WARDSTREAM_CATALOG_URI must be sqlite:///path, postgresql+psycopg2://… or the http(s) address of a REST "
            "catalog; mend or unset it (see .env.example)"
        )
        return WRONG_SETTING
    embedded = settings.embedded_s3 if part == "store" else settings.embedded_catalog
    remedy = "`wardstream up` starts it" if embedded else "look whether it runs, and at its address and credentials"
    line = f"the {part} at {_places(settings)[part]} cannot be used ({error}): {remedy}"
    return _no_verdict(settings, part, line, error, as_json)


def _no_verdict(settings: Settings, part: str, line: str, error: str, as_json: bool) -> int:
    _tell(line)
    if as_json:
        print(json.dumps({"verdict": "unreachable", "part": part, "error": error, **_places(settings)}))
    return NO_VERDICT


def _places(settings: Settings) -> dict[str, str]:
    """Where catalog and store are, without credentials."""
    catalog = urlsplit(settings.catalog_uri)
    address = f"{catalog.scheme}://{catalog.netloc.rpartition('@')[2]}{catalog.path}"
    return {"catalog": address, "store": f"{settings.s3_endpoint} ({settings.warehouse})"}


def _tell(line: str) -> None:
    print(f"wardstream catalog verify: {line}", file=sys.stderr, flush=True)
