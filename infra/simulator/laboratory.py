"""The laboratory: blood drawn from each patient now and then, its results preliminary, final, corrected, withdrawn.

Holds: the panels, two laboratories with units of their own, and how a result comes in versions (`lab.results`).
Does not hold: hazards on the way (`hazards`).

A draw is one order; its analytes share the order's number. Of each analyte first comes P, then F; of some later C, or X
without a value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from infra.simulator.hazards import LABORATORY
from infra.simulator.message import Message, new_id, opaque_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, Patient


@dataclass(frozen=True, slots=True)
class Analyte:
    """One thing measured: what is usual, what a deterioration of full height makes of it, and how each lab reports."""

    code: str
    usual: float
    ill: float
    spread: float
    unit: str
    other_unit: str
    other_factor: float
    least: float = 0.0


ANALYTES = (
    Analyte("2524-7", 1.2, 5.8, 0.2, "mmol/L", "mg/dL", 9.008),
    Analyte("2160-0", 0.9, 2.4, 0.1, "mg/dL", "umol/L", 88.4),
    Analyte("1975-2", 0.5, 2.9, 0.2, "mg/dL", "umol/L", 17.1, least=0.2),
    Analyte("777-3", 240.0, 95.0, 25.0, "10*3/uL", "10*9/L", 1.0),
    Analyte("6690-2", 7.5, 18.5, 1.0, "10*3/uL", "10*9/L", 1.0),
    Analyte("718-7", 13.6, 8.9, 0.6, "g/dL", "g/L", 10.0),
    Analyte("2345-7", 105.0, 190.0, 12.0, "mg/dL", "mmol/L", 1 / 18.016),
    Analyte("2823-3", 4.1, 5.3, 0.2, "mmol/L", "meq/L", 1.0),
    Analyte("33959-8", 0.08, 6.5, 0.03, "ng/mL", "ug/L", 1.0, least=0.05),
)
EVERY_MS = 45 * MINUTE_MS
LABS = ("CENTRAL-LAB", "SATELLITE-LAB")


def play_laboratory(seed: int, patients: tuple[Patient, ...], start_ms: int, end_ms: int) -> list[Message]:
    """All results reported between start and end, in the order of reporting; what would come later does not come."""
    told = [message for patient in patients for message in _of_patient(seed, patient, start_ms, end_ms)]
    return sorted((m for m in told if m.due_ms < end_ms), key=lambda message: message.due_ms)


def _of_patient(seed: int, patient: Patient, start_ms: int, end_ms: int) -> Iterator[Message]:
    rng = Random(f"laboratory/{seed}/{patient.patient_id}")
    collected_ms = start_ms + rng.randrange(EVERY_MS // 3)
    for draw in range(1, 1 + (end_ms - start_ms) // EVERY_MS + 1):
        order = opaque_id("order", seed, patient.patient_id, start_ms, draw)
        for analyte in rng.sample(ANALYTES, 6):
            yield from _versions(rng, patient, order, analyte, collected_ms)
        collected_ms += EVERY_MS + rng.randrange(10 * MINUTE_MS)


def _versions(rng: Random, patient: Patient, order: str, analyte: Analyte, collected_ms: int) -> Iterator[Message]:
    height = max((course.height(collected_ms) for course in patient.courses), default=0.0)
    value = rng.gauss(analyte.usual + (analyte.ill - analyte.usual) * height, analyte.spread)
    preliminary_ms = collected_ms + rng.randrange(3 * MINUTE_MS, 8 * MINUTE_MS)
    final_ms = preliminary_ms + rng.randrange(5 * MINUTE_MS, 15 * MINUTE_MS)
    said = {"order_id": order, "code": analyte.code, "collected_at": iso_utc(collected_ms)}
    lab = rng.randrange(2)
    for status, share, at_ms in (
        ("P", 0.8, preliminary_ms),
        ("F", 1.0, final_ms),
        ("C", 0.10, final_ms + rng.randrange(4 * MINUTE_MS, 20 * MINUTE_MS)),
        ("X", 0.03, final_ms + rng.randrange(21 * MINUTE_MS, 25 * MINUTE_MS)),
    ):
        if rng.random() < share:
            value = value * 1.3 if status == "C" else value
            yield _result(rng, patient, analyte, said, status, value, lab, at_ms)


def _result(
    rng: Random, patient: Patient, analyte: Analyte, said: dict, status: str, value: float, lab: int, at_ms: int
) -> Message:
    measured = {} if status == "X" else _measured(analyte, max(value, 0.0), lab)
    fields = {"event_id": new_id(rng), "patient_id": patient.patient_id, **said, **measured, "status": status}
    fields |= {"reported_at": iso_utc(at_ms), "lab": LABS[lab]}
    return Message(LABORATORY, f"result_{status}", patient.patient_id, at_ms, fields)


def _measured(analyte: Analyte, value: float, lab: int) -> dict[str, object]:
    comparator = "<" if value < analyte.least else None
    value = max(value, analyte.least)
    number = round(value * analyte.other_factor, 2) if lab else round(value, 2)
    return {"value": number, "comparator": comparator, "unit": analyte.other_unit if lab else analyte.unit}
