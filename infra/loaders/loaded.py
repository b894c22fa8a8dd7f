"""What every loader gives: events in the order of sending, and what of the source they are.

Holds: the shape of a loaded source, of a mapped item, the making of readings and results, when stays end, and whose
patient ids are whose.
Does not hold: any source.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from infra.simulator.message import encoded
from infra.simulator.reading import iso_utc
from infra.simulator.ward import ROW, Event

VITALS, WEARABLES, RESULTS, ADMISSIONS = "device.vitals", "iot.patient", "lab.results", "adt.events"
FEEDBACK = "alert.feedback"
HOUR_MS = 3_600_000
PATIENTS = {
    "physionet": range(10_000_000, 20_000_000),
    "mimic": range(20_000_000, 30_000_000),
    "cgm": range(30_000_000, 40_000_000),
    "icu": range(40_000_000, 50_000_000),
}
"""Source -> the numbers of its patients. All have eight digits, the simulator's six: two sources of one home never make
one patient of two people."""
EVENT_IDS = uuid.UUID("6f1b6e0e-2d0b-5c1e-9a53-0c1f3a7d9b42")


class SourceMissingError(FileNotFoundError):
    """A source's file or folder is not where it was said to be. Says what to name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of value of a source: its name there, and the code and UCUM unit it leaves under."""

    stream: str
    name: str
    code: str
    unit: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A source, ready to be sent.

    Attributes:
        events: in the order of sending; `due_ms` is when the source has it, shifted.
        items: what of the source is mapped, by its id there.
        rows: rows (or cells, where a row has many) of the source's files that were read.
        mapped: those of them that are of a mapped item.
        not_sent: reason -> mapped rows that are no message.
    """

    events: Iterable[Event]
    items: Mapping[str, Item]
    rows: int
    mapped: int
    not_sent: Mapping[str, int] = field(default_factory=dict)


def existing(path: Path, what: str) -> Path:
    """The path. Raises `SourceMissingError` where there is nothing at it."""
    if not path.exists():
        raise SourceMissingError(f"{path} is absent: name {what}")
    return path


def patient_id(source: str, number: int) -> str:
    """The patient of a number counted within a source. Raises IndexError where its range has no such number."""
    return f"P{PATIENTS[source][number]:08d}"


def stay_end_ms(number: int, end_ms: int) -> int:
    """When the stay of a number ends: within the hour before `end_ms`, so that not all readings come at one instant."""
    return end_ms - number * 7_919 % HOUR_MS


def event_id(*parts: object) -> str:
    """The same for the same parts, always: a source sent twice is known by it.

    Orders and stays are numbered so too: the lake keeps their numbers in clear, and no patient's id is to be read in
    them. Whoever has the source's files can make them again, and would know the stay by its values as well.
    """
    return str(uuid.uuid5(EVENT_IDS, "/".join(map(str, parts))))


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970 of a time without zone, taken as UTC."""
    return (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001  (both without zone)


def message(stream: str, kind: str, patient: str, due_ms: int, fields: dict[str, Any]) -> Event:
    """The event of a right message keyed by its patient."""
    whole = {"event_id": fields["event_id"], "patient_id": patient, **fields}
    return Event(patient.encode(), encoded(whole), kind, fields["event_id"], patient, due_ms, ROW, None, stream)


def reading(
    item: Item, identity: str, patient: str, value: float, at_ms: int, due_ms: int | None = None, **said: Any
) -> Event:
    """A number of a device. `due_ms`: when the source stored it, told as `received_at` (without which a device whose
    history is sent today would look as if its clock were behind); where the source does not say, when it was measured.

    `said`: further fields (device_id, ward, seq); `unit` where it is not the item's.
    """
    fields = {"event_id": identity, "code": item.code, "value": value, "unit": item.unit, **said}
    due_ms = at_ms if due_ms is None else due_ms
    fields |= {"event_time": iso_utc(at_ms), "received_at": iso_utc(due_ms)}
    return message(item.stream, "reading", patient, due_ms, fields)


def result(
    item: Item, identity: str, patient: str, order: str, value: float, collected_ms: int, reported_ms: int, **said: Any
) -> Event:
    """A final laboratory result, sent when it was reported. `said` as in `reading`."""
    fields = {"event_id": identity, "order_id": order, "code": item.code, "value": value, "unit": item.unit, **said}
    fields |= {"status": "F", "collected_at": iso_utc(collected_ms), "reported_at": iso_utc(reported_ms)}
    return message(RESULTS, "result", patient, reported_ms, fields)
