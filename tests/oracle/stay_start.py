"""When a patient's stay began, and who the patient is, by admissions as HL7 v2.5 (chapter 3) means them.

Holds: the events of one patient folded, plain and slow, into the latest stay: where the hours of a score count from.
Does not hold: stays where no admission is known (`score_hours`).

What happened when is `event_time`; what holds is what was entered last, and a cancellation takes back the event of its
time, or else the latest of its kind.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

TAKES_BACK = {"A11": "A01", "A12": "A02", "A13": "A03"}
USUAL = re.compile(r"([A-Z]?ICU|CCU|ITU)([^A-Z].*)?", re.DOTALL)


class Start(NamedTuple):
    """`hour`: the hour since 1970 UTC from which the stay's hours count; NaN where something is not known."""

    hour: int
    age: float
    sex: float
    admission_h: float


class _Part(NamedTuple):
    began: datetime
    ward: str | None
    bed: str | None


def start_of(events: Sequence[dict[str, Any]], wards: Sequence[str] = ()) -> Start | None:
    """The start of the latest stay; None where nobody was admitted. `wards`: patterns of intensive care."""
    by_stay: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        by_stay.setdefault(event["stay_id"], []).append(event)
    stays = [(_parts(told), stay, told) for stay, told in by_stay.items()]
    known = [each for each in stays if each[0]]
    if not known:
        return None
    parts, _, told = max(known, key=lambda each: (each[0][-1].began, each[1]))
    return _start(parts, _in_entry_order(told), wards)


def _start(parts: list[_Part], told: list[dict[str, Any]], wards: Sequence[str]) -> Start:
    came, was_in = None, False
    for part in parts:
        is_in = part.ward is not None and _is_intensive(part.ward, wards)
        if is_in and not was_in:
            came = part.began
        was_in = is_in
    began = came or parts[0].began
    born, sex = (_last_said(told, name) for name in ("birth_year", "sex"))
    return Start(
        math.floor(began.timestamp() / 3600),
        math.nan if born is None else began.year - born,
        {"F": 0.0, "M": 1.0}.get(sex, math.nan),
        math.nan if came is None else (parts[0].began - came).total_seconds() / 3600,
    )


def _is_intensive(ward: str, wards: Sequence[str]) -> bool:
    if wards:
        return any(fnmatchcase(ward, pattern) for pattern in wards)
    return USUAL.fullmatch(ward) is not None


def _last_said(told: list[dict[str, Any]], name: str) -> Any:
    said = [event[name] for event in told if event[name] is not None]
    return said[-1] if said else None


def _in_entry_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A cancellation that nobody dated was entered with what it cancels, and comes behind it."""
    entered = {}
    for event in sorted(events, key=_entered, reverse=True):
        entered[event["type"], event["event_time"]] = _entered(event)[0]

    def key(event: dict[str, Any]) -> tuple:
        target = TAKES_BACK.get(event["type"])
        at = event["recorded_at"] or entered.get((target, event["event_time"])) or event["event_time"]
        return at, target is not None, event["event_time"], event["event_id"]

    return sorted(events, key=key)


def _entered(event: dict[str, Any]) -> tuple:
    return event["recorded_at"] or event["event_time"], event["event_time"], event["event_id"]


def _standing(events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What was not taken back. Transfers fall with an admission that is not entered again."""
    standing: list[dict[str, Any]] = []
    orphans: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "A01":
            orphans = []
        target = TAKES_BACK.get(event["type"])
        if target is None:
            standing.append(event)
            continue
        of_kind = [each for each in standing if each["type"] == target]
        meant = [each for each in of_kind if each["event_time"] == event["event_time"]] or of_kind
        if meant:
            last = max(meant, key=lambda each: (each["event_time"], _entered(each)))
            standing = [each for each in standing if each is not last]
            if target == "A01":
                orphans = [each for each in standing if each["type"] == "A02"]
    return [event for event in standing if not any(event is orphan for orphan in orphans)]


def _parts(events: list[dict[str, Any]]) -> list[_Part]:
    """Where the patient lay, part by part, in the order of time."""
    standing = _standing(_in_entry_order(events))
    left = next((event["event_time"] for event in reversed(standing) if event["type"] == "A03"), None)
    begins = [event for event in standing if event["type"] == "A02"]
    begins += [event for event in standing if event["type"] == "A01"][-1:]
    at_time = {event["event_time"]: event for event in sorted(begins, key=_entered)}
    times = [time for time in sorted(at_time) if left is None or time < left]
    parts: list[_Part] = []
    for time, until in zip(times, [*times[1:], left][: len(times)], strict=True):  # of no part there is no end
        updates = [
            event
            for event in standing
            if event["type"] == "A08" and event["ward"] and time <= event["event_time"]
            and (until is None or event["event_time"] < until)
        ]  # fmt: skip
        says = max(updates, key=lambda event: (event["event_time"], _entered(event)), default=at_time[time])
        if not parts or (parts[-1].ward, parts[-1].bed) != (says["ward"], says["bed"]):
            parts.append(_Part(time, says["ward"], says["bed"]))
    return parts
