"""Stretches of ECG and plethysmogram from the bedside: many values in one message of `device.vitals`.

Holds: the waves' shape, and a lead that falls off (a flat line of zeros).
Does not hold: numbers (`physiology`, `ward`) or hazards on the way (`hazards`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

from infra.simulator.hazards import VITALS
from infra.simulator.message import Message, new_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, Patient

MONITORED = 4
"""So many patients, the first ones, have their waves sent."""
EVERY_MS = 5 * MINUTE_MS


def play_waves(seed: int, patients: tuple[Patient, ...], start_ms: int, end_ms: int) -> list[Message]:
    """A stretch of four seconds of each wave every five minutes, sent when it is over."""
    told = [message for patient in patients[:MONITORED] for message in _of_patient(seed, patient, start_ms, end_ms)]
    return sorted((m for m in told if m.due_ms < end_ms), key=lambda message: message.due_ms)


def _of_patient(seed: int, patient: Patient, start_ms: int, end_ms: int) -> Iterator[Message]:
    rng = Random(f"waves/{seed}/{patient.patient_id}")
    number = int(patient.patient_id[1:])
    first_ms = start_ms + rng.randrange(MINUTE_MS)
    for seq, at_ms in enumerate(range(first_ms, end_ms, EVERY_MS), 1):
        lead_off = number == 2 and seq in (3, 4)
        for kind, measured in (("ecg", _ecg(rng, number, lead_off)), ("pleth", _pleth(rng))):
            fields = {
                "event_id": new_id(rng), "patient_id": patient.patient_id, "device_id": f"WAVE-{number:04d}",
                "ward": patient.ward, **measured, "event_time": iso_utc(at_ms), "seq": seq,
            }  # fmt: skip
            yield Message(
                VITALS, "lead_off" if lead_off and kind == "ecg" else kind, patient.patient_id, at_ms + 4_050, fields
            )


def _ecg(rng: Random, number: int, lead_off: bool) -> dict[str, object]:
    """500 values, one every 8 ms: beats of a narrow Gauss curve. Every second monitor sends microvolts."""
    beats = [0.0] * 500 if lead_off else [_beat(n % 100) + rng.gauss(0, 0.02) for n in range(500)]
    if number % 2:
        return {"code": "131330", "values": [round(beat, 3) for beat in beats], "period_ms": 8, "unit": "mV"}
    return {"code": "131330", "values": [round(1000 * beat) for beat in beats], "period_ms": 8.0, "unit": "uV"}


def _beat(step: int) -> float:
    """One heart-beat in millivolts: a small P wave, the QRS complex, a T wave."""
    bumps = ((20, 0.12, 18.0), (35, 1.1, 3.0), (58, 0.28, 45.0))
    return sum(height * math.exp(-((step - at) ** 2) / width) for at, height, width in bumps)


def _pleth(rng: Random) -> dict[str, object]:
    values = [round(0.5 + 0.4 * math.sin(n / 50 * 2 * math.pi) + rng.gauss(0, 0.01), 3) for n in range(250)]
    return {"code": "150452", "values": values, "period_ms": 16.0, "unit": "1"}
