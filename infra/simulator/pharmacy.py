"""Pharmacy and infusion pumps: what is ordered, given and stopped (`medication.events`).

Holds: the drugs with their doses and units as each system writes them.
Does not hold: hazards on the way (`hazards`), nor any effect of a drug on a patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from infra.simulator.hazards import PHARMACY
from infra.simulator.message import Message, new_id, opaque_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, Patient


@dataclass(frozen=True, slots=True)
class Drug:
    """RxNorm code, usual dose in a unit, route, minutes between two administrations."""

    code: str
    dose: float
    unit: str
    route: str
    every_min: int


DRUGS = (
    Drug("7512", 8.0, "ug/min", "IV", 15),
    Drug("161", 1.0, "g", "PO", 40),
    Drug("2193", 2_000.0, "mg", "IV", 50),
    Drug("5224", 1_000.0, "[IU]/h", "IV", 30),
    Drug("9863", 0.5, "L", "IV", 45),
    Drug("8591", 20.0, "meq", "IV", 40),
    Drug("3616", 5.0, "ug/kg/min", "IV", 20),
    Drug("6470", 0.5, "mg/h", "IV", 25),
    Drug("435", 2.0, "{puff}", "INH", 30),
)


def play_pharmacy(seed: int, patients: tuple[Patient, ...], start_ms: int, end_ms: int) -> list[Message]:
    """All events between start and end, in the order of their times, which are exact to the microsecond."""
    told = [message for patient in patients for message in _of_patient(seed, patient, start_ms, end_ms)]
    return sorted((m for m in told if m.due_ms < end_ms), key=lambda message: message.due_ms)


def _of_patient(seed: int, patient: Patient, start_ms: int, end_ms: int) -> Iterator[Message]:
    rng = Random(f"pharmacy/{seed}/{patient.patient_id}")
    for number, drug in enumerate(rng.sample(DRUGS, 2), 1):
        order = opaque_id("prescription", seed, patient.patient_id, start_ms, number)
        at_ms = start_ms + rng.randrange(2 * MINUTE_MS, 10 * MINUTE_MS)
        yield _event(rng, patient, order, drug, "ordered", at_ms)
        yield _event(rng, patient, order, drug, "fulfilled", at_ms + rng.randrange(MINUTE_MS, 4 * MINUTE_MS), None)
        stopped_ms = end_ms - rng.randrange(2 * MINUTE_MS, 12 * MINUTE_MS)
        for given_ms in range(at_ms + 5 * MINUTE_MS, stopped_ms, drug.every_min * MINUTE_MS):
            dose = round(drug.dose * rng.choice((0.5, 1.0, 1.0, 1.25)), 3)
            yield _event(rng, patient, order, drug, "administered", given_ms + rng.randrange(MINUTE_MS), dose)
        if number == 1:
            yield _event(rng, patient, order, drug, "stopped", stopped_ms, None)


def _event(
    rng: Random, patient: Patient, order: str, drug: Drug, action: str, at_ms: int, dose: float | None = 0.0
) -> Message:
    """`dose` None: none is charted; 0.0: the drug's usual one."""
    fields: dict[str, object] = {
        "event_id": new_id(rng),
        "patient_id": patient.patient_id,
        "order_id": order,
        "action": action,
    }
    fields |= {"code": drug.code}
    if dose is not None:
        fields |= {"dose": dose or drug.dose, "unit": drug.unit}
    exact = f"{iso_utc(at_ms)[:-1]}{rng.randrange(1000):03d}Z"
    fields |= {"route": drug.route, "event_time": exact}
    return Message(PHARMACY, action, patient.patient_id, at_ms + rng.randrange(500, 3_000), fields)
