"""Devices on the body and at home: glucose sensors, cuffs, scales, steps, an ECG patch (`iot.patient`).

Holds: who wears what, what each sends when, two clocks that are wrong, and a telephone that is offline for a while.
Does not hold: hazards on the way (`hazards`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from infra.simulator.hazards import WEARABLES
from infra.simulator.message import Message, new_id
from infra.simulator.reading import iso_utc
from infra.simulator.script import MINUTE_MS, Patient

HOME = "HOME-DIABETES"
AHEAD_MS, BEHIND_MS = 7 * MINUTE_MS, -25 * MINUTE_MS
"""Clocks of two cuffs: one was never set to winter time's end, one drifts."""
OFFLINE_MS = 15 * MINUTE_MS


@dataclass(frozen=True, slots=True)
class Wearer:
    """Somebody with devices. `clock_ms` is what the cuff's clock is ahead (or, negative, behind)."""

    patient_id: str
    number: int
    ward: str
    in_mmol: bool
    clock_ms: int
    stuck: bool


def wearers(patients: tuple[Patient, ...]) -> tuple[Wearer, ...]:
    """Every fourth patient of the ward, and half as many people at home, at least two."""
    inside = [(patient.patient_id, patient.ward) for patient in patients if int(patient.patient_id[1:]) % 4 == 1]
    at_home = [(f"P{500_000 + n:06d}", HOME) for n in range(1, max(2, len(patients) // 8) + 1)] if patients else []
    clocks = {0: AHEAD_MS, 1: BEHIND_MS}
    return tuple(
        Wearer(patient, number, ward, number % 2 == 1, clocks.get(number, 0), stuck=number == 2)
        for number, (patient, ward) in enumerate([*inside, *at_home])
    )


def play_wearables(seed: int, patients: tuple[Patient, ...], start_ms: int, end_ms: int) -> list[Message]:
    """All readings between start and end, in the order of sending; a telephone that was offline sends all at once."""
    told = [message for each in wearers(patients) for message in _Worn(seed, each, start_ms, end_ms).readings()]
    return sorted((m for m in told if m.due_ms < end_ms), key=lambda message: message.due_ms)


class _Worn:
    """One person's devices: their sequence numbers, and the telephone that they send through."""

    def __init__(self, seed: int, wearer: Wearer, start_ms: int, end_ms: int) -> None:
        self._wearer, self._start_ms, self._end_ms = wearer, start_ms, end_ms
        self._rng = Random(f"wearables/{seed}/{wearer.patient_id}")
        self._seq: dict[str, int] = {}
        half_ms = (end_ms - start_ms) // 2
        self._offline_ms = start_ms + half_ms if wearer.ward == HOME else end_ms

    def readings(self) -> Iterator[Message]:
        for device, period_min, read in (
            ("CGM", 5, self._glucose),
            ("BAND", 2, self._pulse),
            ("CUFF", 20, self._pressures),
            ("STEP", 15, self._steps),
            ("SCALE", 600, self._weight),
            ("PATCH", 12, self._patch),
        ):
            at_ms = self._start_ms + self._rng.randrange(MINUTE_MS)
            while at_ms < self._end_ms:
                for measured in read(at_ms):
                    yield self._message(device, at_ms, measured)
                at_ms += period_min * MINUTE_MS

    def _message(self, device: str, at_ms: int, measured: dict[str, object]) -> Message:
        wearer, rng = self._wearer, self._rng
        self._seq[device] = self._seq.get(device, 0) + 1
        sent_ms = at_ms + rng.randrange(300, 4_000)
        if self._offline_ms <= at_ms < self._offline_ms + OFFLINE_MS:
            sent_ms = self._offline_ms + OFFLINE_MS + self._seq[device]
        nobody = device == "SCALE" and wearer.number == 1
        told_ms = at_ms + (wearer.clock_ms if device == "CUFF" else 0)
        fields = {
            "event_id": new_id(rng), "patient_id": None if nobody else wearer.patient_id,
            "device_id": f"{device}-{wearer.number:04d}", "ward": wearer.ward, **measured,
            "event_time": iso_utc(told_ms), "received_at": iso_utc(sent_ms), "seq": self._seq[device],
        }  # fmt: skip
        return Message(WEARABLES, device.lower(), None if nobody else wearer.patient_id, sent_ms, fields)

    def _glucose(self, at_ms: int) -> list[dict[str, object]]:
        """A swing of three hours around 130 mg/dL, down to lows and up to highs; one sensor sticks."""
        if self._wearer.stuck:
            return [{"code": "99504-3", "value": 117.0, "unit": "mg/dL"}]
        value = (
            130 + 70 * math.sin(at_ms / (180 * MINUTE_MS) * 2 * math.pi + self._wearer.number) + self._rng.gauss(0, 3)
        )
        if self._wearer.in_mmol:
            return [{"code": "99504-3", "value": round(value / 18.016, 1), "unit": "mmol/L"}]
        return [{"code": "99504-3", "value": round(value), "unit": "mg/dL"}]

    def _pulse(self, _at_ms: int) -> list[dict[str, object]]:
        return [{"code": "8867-4", "value": float(round(self._rng.gauss(78, 4))), "unit": "{beats}/min"}]

    def _pressures(self, _at_ms: int) -> list[dict[str, object]]:
        systolic, diastolic = self._rng.gauss(131, 5), self._rng.gauss(78, 3)
        if self._wearer.in_mmol:
            return [
                {"code": code, "value": round(value / 7.500616827, 1), "unit": "kPa"}
                for code, value in (("8480-6", systolic), ("8462-4", diastolic))
            ]
        return [
            {"code": code, "value": round(value), "unit": "mm[Hg]"}
            for code, value in (("8480-6", systolic), ("8462-4", diastolic))
        ]

    def _steps(self, _at_ms: int) -> list[dict[str, object]]:
        return [{"code": "55423-8", "value": self._rng.randrange(0, 900), "unit": "{steps}"}]

    def _weight(self, _at_ms: int) -> list[dict[str, object]]:
        return [{"code": "29463-7", "value": round(self._rng.uniform(110, 220), 1), "unit": "[lb_av]"}]

    def _patch(self, _at_ms: int) -> list[dict[str, object]]:
        values = [round(1000 * math.exp(-((n % 60 - 20) ** 2) / 8) + self._rng.gauss(0, 15)) for n in range(120)]
        return [{"code": "131330", "values": values, "period_ms": 12.5, "unit": "uV"}]
