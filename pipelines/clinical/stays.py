"""Admissions, transfers, discharges and their cancellations, folded into stays and the stretches they are made of.

Holds: the fold, pure: the same events give the same stays in whatever order they arrived.
Does not hold: which events are read (`assets/derive.py`), nor where stays are kept.

Two orders count. What happened when is `event_time`. What holds is what was *entered* last: `recorded_at`, or event
time where nobody says; a cancellation takes back what had been entered before it. HL7 v2.5 chapter 3 names the
triggers; that a cancellation without the time of what it cancels means the latest of its kind, and that an update never
moves a patient but corrects the stretch it falls into, is ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

ADMIT, TRANSFER, DISCHARGE, UPDATE = "A01", "A02", "A03", "A08"
CANCELS = {"A11": ADMIT, "A12": TRANSFER, "A13": DISCHARGE}

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in one ward and bed; `ended_at` is None while it lasts."""

    ward: str | None
    bed: str | None
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stay:
    """A stay as its events tell it; the fields are the columns of `stays`, `stretches` the rows of `stay_movements`."""

    subject_token: str
    stay_id: str
    state: str
    opened_at: datetime
    admitted_at: datetime | None
    discharged_at: datetime | None
    birth_year: int | None
    sex: str | None
    events: int
    unmatched_cancels: int
    last_event_at: datetime
    stretches: tuple[Stretch, ...]


def stays(events: Iterable[Event]) -> list[Stay]:
    """The stays of these events, by patient and stay id. Events have the columns of `adt_events`; times are aware."""
    return [_folded(_as_entered(list(of_stay))) for _, of_stay in groupby(sorted(events, key=_key), key=_key)]


def stay_rows(folded: Iterable[Stay]) -> list[dict[str, Any]]:
    """Rows of `stays`."""
    return [_stay_row(stay) for stay in folded]


def movement_rows(folded: Iterable[Stay]) -> list[dict[str, Any]]:
    """Rows of `stay_movements`, numbered from 1 within a stay."""
    return [
        {
            "subject_token": stay.subject_token,
            "stay_id": stay.stay_id,
            "movement": number,
            "ward": stretch.ward,
            "bed": stretch.bed,
            "started_at": stretch.started_at,
            "ended_at": stretch.ended_at,
        }
        for stay in folded
        for number, stretch in enumerate(stay.stretches, 1)
    ]


def _key(event: Event) -> tuple[str, str]:
    return event["subject_token"], event["stay_id"]


def _as_entered(events: list[Event]) -> list[Event]:
    """The events of a stay in the order of entry; nothing in it depends on when they came to us.

    A cancellation follows what it can take back: where both were entered at one time, and where nobody says when the
    cancellation was.
    """
    first: dict[tuple[str, datetime], datetime] = {}
    for event in sorted(events, key=_entered):
        first.setdefault((event["type"], event["event_time"]), event["recorded_at"] or event["event_time"])

    def entry(event: Event) -> tuple[datetime, bool, datetime, str]:
        at = event["recorded_at"] or first.get((CANCELS.get(event["type"], ""), event["event_time"]))
        return at or event["event_time"], event["type"] in CANCELS, event["event_time"], event["event_id"]

    return sorted(events, key=entry)


def _entered(event: Event) -> tuple[datetime, datetime, str]:
    """The order of entry among events of one kind."""
    return event["recorded_at"] or event["event_time"], event["event_time"], event["event_id"]


def _folded(events: list[Event]) -> Stay:
    """One stay of its events in the order of entry."""
    standing, taken_back, unmatched = _standing(events)
    admitted_at = next((event["event_time"] for event in reversed(standing) if event["type"] == ADMIT), None)
    discharged_at = next((event["event_time"] for event in reversed(standing) if event["type"] == DISCHARGE), None)
    stretches = _stretches(standing, discharged_at)
    return Stay(
        subject_token=events[0]["subject_token"],
        stay_id=events[0]["stay_id"],
        state=_state(bool(admitted_at or stretches), discharged_at is not None, ADMIT in taken_back),
        opened_at=min(event["event_time"] for event in events),
        admitted_at=admitted_at,
        discharged_at=discharged_at,
        birth_year=_last_said(events, "birth_year"),
        sex=_last_said(events, "sex"),
        events=len(events),
        unmatched_cancels=unmatched,
        last_event_at=max(event["event_time"] for event in events),
        stretches=stretches,
    )


def _standing(events: list[Event]) -> tuple[list[Event], set[str], int]:
    """What no cancellation took back, in order of entry; the kinds taken back; cancellations without a target."""
    standing: list[Event] = []
    without_stay: list[Event] = []  # transfers of an admission that was taken back and not entered again
    taken_back: set[str] = set()
    unmatched = 0
    for event in events:
        kind = CANCELS.get(event["type"])
        if kind is None:
            standing.append(event)
        elif (target := _target(standing, kind, event["event_time"])) is None:
            unmatched += 1
        else:
            standing.remove(target)
            taken_back.add(kind)
            if kind == ADMIT:
                without_stay = [event for event in standing if event["type"] == TRANSFER]
        if event["type"] == ADMIT:
            without_stay = []
    return [event for event in standing if event not in without_stay], taken_back, unmatched


def _target(standing: list[Event], kind: str, event_time: datetime) -> Event | None:
    """What a cancellation takes back: the event of its kind and time, or else the latest of its kind."""
    of_kind = [event for event in standing if event["type"] == kind]
    same_time = [event for event in of_kind if event["event_time"] == event_time]
    return max(same_time or of_kind, key=lambda event: (event["event_time"], _entered(event)), default=None)


def _stretches(standing: list[Event], discharged_at: datetime | None) -> tuple[Stretch, ...]:
    """The stretches in order of time, each ending where the next begins, the last at discharge."""
    begun = [event for event in standing if event["type"] == TRANSFER]
    begun += [event for event in standing if event["type"] == ADMIT][-1:]  # an admission entered again replaces itself
    at_time = {event["event_time"]: event for event in sorted(begun, key=_entered)}
    starts = [time for time in sorted(at_time) if discharged_at is None or time < discharged_at]
    ends = [*starts[1:], discharged_at] if starts else []
    whole = [
        Stretch(*_place(at_time[start], standing, end), start, end) for start, end in zip(starts, ends, strict=True)
    ]
    return _joined(whole)


def _place(begin: Event, standing: list[Event], end: datetime | None) -> tuple[str | None, str | None]:
    """Ward and bed of a stretch: as it began, corrected by updates that fall into it and say a ward."""
    since = begin["event_time"]
    within = [
        event
        for event in standing
        if event["type"] == UPDATE and event["ward"] and since <= event["event_time"] and _before(event, end)
    ]
    says = max([begin, *within], key=lambda event: (event is not begin, event["event_time"], _entered(event)))
    return says["ward"], says["bed"]


def _before(event: Event, end: datetime | None) -> bool:
    return end is None or event["event_time"] < end


def _joined(stretches: list[Stretch]) -> tuple[Stretch, ...]:
    """Neighbours in the same ward and bed as one."""
    result: list[Stretch] = []
    for stretch in stretches:
        last = result[-1] if result else None
        if last and (last.ward, last.bed) == (stretch.ward, stretch.bed):
            result[-1] = replace(last, ended_at=stretch.ended_at)
        else:
            result.append(stretch)
    return tuple(result)


def _state(is_in: bool, is_out: bool, admission_taken_back: bool) -> str:
    if is_out:
        return "discharged"
    if is_in:
        return "admitted"
    return "cancelled" if admission_taken_back else "expected"


def _last_said(events: list[Event], name: str) -> Any:
    return next((event[name] for event in reversed(events) if event[name] is not None), None)


def _stay_row(stay: Stay) -> dict[str, Any]:
    last = stay.stretches[-1] if stay.stretches else None
    return {
        "subject_token": stay.subject_token,
        "stay_id": stay.stay_id,
        "state": stay.state,
        "opened_at": stay.opened_at,
        "admitted_at": stay.admitted_at,
        "discharged_at": stay.discharged_at,
        "ward": last and last.ward,
        "bed": last and last.bed,
        "birth_year": stay.birth_year,
        "sex": stay.sex,
        "movements": len(stay.stretches),
        "events": stay.events,
        "unmatched_cancels": stay.unmatched_cancels,
        "last_event_at": stay.last_event_at,
    }
