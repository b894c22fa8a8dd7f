"""The verifier's newest verdict on each certificate, kept beside it, and given anew when something was left to come.

Holds: which certificates are due, and where verdicts lie. The verifier itself (`infra/verifier`) knows nothing of this.
Does not hold: the search for a person's traces: that needs the person's identifier, which nobody keeps (`wardstream
erase verify REQUEST --patient -`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from infra.verifier.store import remote_store
from infra.verifier.verify import check, keep
from warehouse.erasure.run import certificate_file
from warehouse.settings import Settings

FOLDER = "erasure/verdicts"
AT_ONCE = 20
"""So many certificates are verified while a page is made; the others with the next."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verifier said and when. `untold`: what it could not look at; `searched`: files that it looked through
    for the person, 0: for nobody."""

    at: datetime
    checks: int
    wrong: int
    waiting: int
    untold: int
    searched: int

    @property
    def so(self) -> bool:
        return not self.wrong and not self.untold


def verdict_file(settings: Settings, request: str) -> Path:
    """Where the newest verdict on the certificate of a request lies."""
    return settings.home / FOLDER / f"{request}.json"


def verdicts(settings: Settings, requests: Sequence[str], now: datetime) -> dict[str, Verdict]:
    """Request -> the newest verdict; those without one, and those whose last bytes should have gone since, are verified
    now, `AT_ONCE` at the most. Left out: those that could not be verified."""
    found = {request: verdict for request in requests if (verdict := _kept(settings, request))}
    due = [each for each in requests if each not in found or _over(settings, each, found[each], now)]
    for request in due[:AT_ONCE]:
        if _verify(settings, request, now) and (verdict := _kept(settings, request)):
            found[request] = verdict
    return found


def _verify(settings: Settings, request: str, now: datetime) -> bool:
    store = None
    if settings.warehouse.startswith("s3://"):
        reader = {"key": settings.s3_reader_key, "secret": settings.s3_reader_secret}
        store = remote_store(settings.s3_endpoint, settings.s3_region, reader)
    try:
        document = json.loads(certificate_file(settings, request).read_text())
        verdict, searched = check(document, settings.home, store, now)
    except (OSError, ValueError, KeyError, sqlite3.Error):
        return False
    keep(verdict_file(settings, request), verdict, searched, now)
    return True


def _kept(settings: Settings, request: str) -> Verdict | None:
    try:
        said = json.loads(verdict_file(settings, request).read_text())
    except (OSError, ValueError):
        return None
    return Verdict(
        at=datetime.fromisoformat(said["at"]),
        checks=len(said["checked"]),
        wrong=len(said["wrong"]),
        waiting=len(said["waiting"]),
        untold=len(said["untold"]),
        searched=said.get("files", 0),
    )


def _over(settings: Settings, request: str, verdict: Verdict, now: datetime) -> bool:
    """Whether something that the verdict had to wait for has had its time since."""
    if not verdict.waiting:
        return False
    said = json.loads(certificate_file(settings, request).read_text())["certificate"]
    untils = [datetime.fromisoformat(each["until"]) for each in said["remains"]]
    return any(verdict.at < until <= now for until in untils)
