"""A patient in intensive care who develops sepsis: charted for hours before the ward is played, and worse in it.

Holds: the script of that one patient as messages of three streams, and the alert that it must cause.
Does not hold: the patients of the ward (`script`), hazards on the way (`hazards`), or any model.

The hours before come at once, as when a ward takes over the chart of another: their times are old, their appends new.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from random import Random
from typing import NamedTuple

from infra.simulator.hazards import ADMISSIONS, LABORATORY, VITALS
from infra.simulator.message import Message, new_id, opaque_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, ExpectedAlert
from infra.simulator.ward import ROW, Event

PATIENT, DEVICE, WARD, BED = "P800001", "MON-0801", "ICU-2", "11"
CHARTED_H = 13
"""Hours in intensive care before the ward is played."""
_HOUR_MS = 60 * MINUTE_MS


class Measure(NamedTuple):
    """One thing measured: its code, its unit, what is usual for the patient, and what sepsis makes of it."""

    code: str
    unit: str
    usual: float
    ill: float
    noise: float
    decimals: int


MONITORED = (
    Measure("8867-4", "/min", 82, 136, 2, 0),
    Measure("59408-5", "%", 97, 89, 0.5, 0),
    Measure("8310-5", "Cel", 37.0, 39.4, 0.05, 1),
    Measure("8480-6", "mm[Hg]", 124, 78, 2, 0),
    Measure("8478-0", "mm[Hg]", 88, 52, 2, 0),
    Measure("8462-4", "mm[Hg]", 70, 38, 2, 0),
    Measure("9279-1", "/min", 15, 33, 0.5, 0),
)
DRAWN = (
    Measure("2524-7", "mmol/L", 1.1, 6.2, 0.1, 1),
    Measure("6690-2", "10*3/uL", 8.1, 24.0, 0.3, 1),
    Measure("2160-0", "mg/dL", 0.9, 3.2, 0.05, 2),
    Measure("777-3", "10*3/uL", 238, 72, 4, 0),
    Measure("3094-0", "mg/dL", 15, 60, 1, 0),
    Measure("1975-2", "mg/dL", 0.7, 4.2, 0.05, 1),
    Measure("3150-0", "%", 21, 60, 0, 0),
    Measure("2744-1", "[pH]", 7.40, 7.20, 0.01, 2),
)


def play_sepsis(seed: int, start_ms: int, end_ms: int) -> Iterator[Event]:
    """The patient's messages in the order of sending, those of the hours before the start at the start."""
    messages = [*_told(Random(f"sepsis/{seed}"), seed, start_ms, end_ms)]
    for message in sorted(messages, key=lambda each: each.due_ms):
        identity = message.fields["event_id"]
        yield Event(
            message.key, message.encode(), message.kind, identity, PATIENT, message.due_ms, ROW, None, message.stream
        )


def expected_alert(start_ms: int, end_ms: int) -> ExpectedAlert:
    """The alert that the course must cause: from when the patient falls ill to the end of the play."""
    return ExpectedAlert(PATIENT, "sepsis", 1, start_ms - (CHARTED_H - 6) * _HOUR_MS, end_ms)


def _told(rng: Random, seed: int, start_ms: int, end_ms: int) -> Iterator[Message]:
    admitted_ms = start_ms - CHARTED_H * _HOUR_MS
    yield _admission(rng, seed, admitted_ms, start_ms)
    seq = 0
    for at_ms in [*range(admitted_ms, start_ms, _HOUR_MS), *range(start_ms, end_ms, 10 * MINUTE_MS)]:
        for measure in MONITORED:
            seq += 1
            fields = {"device_id": DEVICE, "ward": WARD, "seq": seq, "event_time": iso_utc(at_ms)}
            yield _message(rng, VITALS, measure, at_ms, admitted_ms, max(at_ms, start_ms), fields)
    drawn = [*range(admitted_ms + 20 * MINUTE_MS, start_ms, 4 * _HOUR_MS), *range(start_ms, end_ms, _HOUR_MS)]
    for nth, at_ms in enumerate(drawn):
        order = opaque_id("sepsis", seed, start_ms, nth)
        reported_ms = at_ms + 12 * MINUTE_MS
        fields = {"order_id": order, "status": "F", "collected_at": iso_utc(at_ms), "reported_at": iso_utc(reported_ms)}
        if reported_ms < end_ms:
            for measure in DRAWN:
                due_ms = max(reported_ms, start_ms)
                yield _message(rng, LABORATORY, measure, at_ms, admitted_ms, due_ms, fields)


def _message(
    rng: Random, stream: str, measure: Measure, at_ms: int, admitted_ms: int, due_ms: int, fields: Mapping[str, object]
) -> Message:
    """One value as the course has it: well for six hours, then worse by the hour for ten."""
    part = min(1.0, max(0.0, ((at_ms - admitted_ms) / _HOUR_MS - 6) / 10))
    value = round(rng.gauss(measure.usual + (measure.ill - measure.usual) * part, measure.noise), measure.decimals)
    whole = {"event_id": new_id(rng), "patient_id": PATIENT, "code": measure.code, "value": value}
    return Message(stream, "sepsis", PATIENT, due_ms, whole | {"unit": measure.unit, **fields})


def _admission(rng: Random, seed: int, admitted_ms: int, told_ms: int) -> Message:
    fields = {
        "event_id": new_id(rng), "patient_id": PATIENT, "stay_id": opaque_id("sepsis", seed, admitted_ms),
        "type": "A01", "ward": WARD, "bed": BED, "event_time": iso_utc(admitted_ms), "recorded_at": iso_utc(told_ms),
        "identifiers": [{"system": "urn:oid:2.16.840.1.113883.4.1", "value": "999-80-0001"}],
        "name": {"family": "Example", "given": "Kim"}, "birth_date": "1951-06-14", "sex": "M",
    }  # fmt: skip
    return Message(ADMISSIONS, "A01", PATIENT, told_ms, fields)
