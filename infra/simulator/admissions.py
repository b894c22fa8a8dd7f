"""The admission office: who comes, moves and goes, and what is taken back (`adt.events`).

Holds: one stay a patient of the script, by HL7 trigger; three cancellations in every ward that is large enough.
Does not hold: hazards on the way (`hazards`).

Names are made up, the same ones over and over; they exist to show that none of them reaches the lake.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from infra.simulator.hazards import ADMISSIONS
from infra.simulator.message import Message, new_id, opaque_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, WARDS, Patient

FAMILIES = ("Example", "Sample", "Muster", "Dupont", "Kowalska", "Rossi", "Nováková", "O'Specimen")
GIVEN = ("Alex", "Sam", "Robin", "Kim", "Toni", "Andrea")
NEVER_CAME = "P700001"
"""Admitted by mistake, and taken back."""


def play_admissions(seed: int, patients: tuple[Patient, ...], start_ms: int, end_ms: int) -> list[Message]:
    """All events between start and end, in the order of entering.

    Everybody is admitted at the start; every second moves to another bed, every fifth is discharged at the end. The
    third patient's transfer is cancelled (A12), the fourth's discharge (A13), and an admission of nobody (A11).
    """
    told = [message for patient in patients for message in _Stay(seed, patient, start_ms, end_ms).events()]
    told += _mistaken(seed, start_ms, end_ms) if patients else []
    return sorted((m for m in told if m.due_ms < end_ms), key=lambda message: message.due_ms)


class _Stay:
    """One patient's stay: what stays the same in all its messages."""

    def __init__(self, seed: int, patient: Patient, start_ms: int, end_ms: int) -> None:
        self._rng = Random(f"admissions/{seed}/{patient.patient_id}")
        self._patient, self._start_ms, self._end_ms = patient, start_ms, end_ms
        self._number = int(patient.patient_id[1:])
        self._stay = opaque_id("stay", seed, patient.patient_id, start_ms)
        self._person = _person(self._rng, self._number)

    def events(self) -> Iterator[Message]:
        length_ms, number = self._end_ms - self._start_ms, self._number
        admitted_ms = self._start_ms + self._rng.randrange(MINUTE_MS)
        if number % 6 == 0:
            yield self._event("A04", admitted_ms - 20_000, None, None)
        bed = f"{number % 12 + 1:02d}"
        yield self._event("A01", admitted_ms, self._patient.ward, bed)
        if number % 7 == 0:
            yield self._event("A08", admitted_ms + 2 * MINUTE_MS, self._patient.ward, bed)
        if number % 2 == 0 or number == 3:
            moved_ms = self._start_ms + int(self._rng.uniform(0.3, 0.6) * length_ms)
            yield self._event("A02", moved_ms, WARDS[(number + 2) % len(WARDS)], "01")
            if number == 3:
                yield self._event("A12", moved_ms, self._patient.ward, bed, entered_ms=moved_ms + 3 * MINUTE_MS)
        if number % 5 == 0 or number == 4:
            left_ms = self._end_ms - self._rng.randrange(3 * MINUTE_MS, 4 * MINUTE_MS)
            yield self._event("A03", left_ms, None, None)
            if number == 4:
                yield self._event("A13", left_ms, self._patient.ward, bed, entered_ms=left_ms + MINUTE_MS)

    def _event(
        self, trigger: str, at_ms: int, ward: str | None, bed: str | None, entered_ms: int | None = None
    ) -> Message:
        entered_ms = at_ms + self._rng.randrange(5_000, 50_000) if entered_ms is None else entered_ms
        fields = {
            "event_id": new_id(self._rng), "patient_id": self._patient.patient_id, "stay_id": self._stay,
            "type": trigger, "ward": ward, "bed": bed, "event_time": iso_utc(at_ms),
            "recorded_at": iso_utc(entered_ms), **self._person,
        }  # fmt: skip
        return Message(ADMISSIONS, trigger, self._patient.patient_id, entered_ms, fields)


def _mistaken(seed: int, start_ms: int, end_ms: int) -> list[Message]:
    nobody = Patient(NEVER_CAME, "MON-0000", WARDS[0], (), 0, False, False, False)
    stay = _Stay(seed, nobody, start_ms, end_ms)
    at_ms = start_ms + 5 * MINUTE_MS
    cancelled_ms = at_ms + 4 * MINUTE_MS
    return [
        stay._event("A01", at_ms, WARDS[0], "12"),
        stay._event("A11", at_ms, None, None, entered_ms=cancelled_ms),
    ]


def _person(rng: Random, number: int) -> dict[str, object]:
    year, month, day = rng.randrange(1930, 2005), rng.randrange(1, 13), rng.randrange(1, 29)
    return {
        "identifiers": [{"system": "urn:oid:2.16.840.1.113883.4.1", "value": f"999-{number % 100:02d}-{number:04d}"}],
        "name": {"family": FAMILIES[number % len(FAMILIES)], "given": GIVEN[number % len(GIVEN)]},
        "birth_date": f"{year}-{month:02d}-{day:02d}",
        "sex": "FM"[number % 2] if number % 11 else "U",
    }
