"""Who is being treated: people of whom a stay began and did not end, by the events of admission.

Holds: the question and its one rule, on the side of "still here" wherever events leave a doubt.
Does not hold: stays as questions are answered by them (`pipelines/clinical/stays.py`).

What was entered last decides (`recorded_at`, or event time where nobody says): a cancelled discharge brings a patient
back however often that discharge had been sent, and a transfer says that somebody is here though the admission is older
than the lake. A registration (A04) alone is no stay: nobody would ever end it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from warehouse.erasure.stores import Subject, by_token
from warehouse.subjects import is_of

OPEN_STAY = "a stay of theirs has not ended: nothing of a patient who is being treated is erased"
STAYS = "adt_events"
ADMITTED, TRANSFERRED, DISCHARGED, NOT_ADMITTED, NOT_DISCHARGED = "A01", "A02", "A03", "A11", "A13"
_FIELDS = ("subject_token", "stay_id", "type", "event_time", "recorded_at")


def with_open_stays(subjects: Collection[Subject], catalog: Catalog, namespace: str) -> set[str]:
    """Requests about people who have a stay that has not ended; each request of one person."""
    try:
        table = catalog.load_table((namespace, STAYS))
    except NoSuchTableError:
        return set()
    rows = table.scan(selected_fields=_FIELDS).to_arrow()
    events: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for event in rows.filter(is_of(rows, "subject_token", by_token(subjects))).to_pylist():
        events[event["subject_token"], event["stay_id"]].append(event)
    here = {token for (token, _), of_stay in events.items() if is_open(of_stay)}
    return {subject.request for subject in subjects if here & set(subject.tokens)}


def is_open(events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the events of one stay leave somebody here."""
    events = list(events)
    here, left_at = False, None
    for event in sorted(events, key=lambda event: _entered(event, events)):
        kind, at = event["type"], event["event_time"]
        if kind in (ADMITTED, TRANSFERRED):
            # One that is entered late, of a time before they left, brings nobody back.
            here = here or left_at is None or at > left_at
        elif kind == DISCHARGED:
            here, left_at = False, at
        elif kind == NOT_DISCHARGED:
            here, left_at = True, None
        elif kind == NOT_ADMITTED:
            here = False
    return here


def _entered(event: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> tuple[datetime, bool, datetime]:
    """The order of entry. A cancellation of which nobody says when it was entered follows every event of its time."""
    at, is_cancellation = event["recorded_at"] or event["event_time"], event["type"] in (NOT_ADMITTED, NOT_DISCHARGED)
    if is_cancellation and event["recorded_at"] is None:
        same_time = [each["recorded_at"] for each in events if each["event_time"] == event["event_time"]]
        at = max([at, *(each for each in same_time if each is not None)])
    return at, is_cancellation, event["event_time"]
