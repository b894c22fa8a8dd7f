"""The ward of the latency benchmark: the ill are ill, and nobody else is."""

from __future__ import annotations

import json
from collections import defaultdict

from infra.bench.ward import ILL_S, ONSETS_PER_S, PATIENTS, WardReadings
from infra.bench.workload import Workload

RATE, SECONDS = 4_000, 40
WELL = {"8867-4": (51, 90), "9279-1": (12, 20), "59408-5": (96, 100), "8480-6": (111, 219), "8310-5": (36.1, 38.0)}
"""Values to which NEWS2 gives no point."""


def _play() -> tuple[WardReadings, dict[str, list[dict]]]:
    ward = WardReadings(9, RATE)
    workload = Workload(9, ward, malformed=0, duplicates=0)
    by_patient = defaultdict(list)
    for _ in range(SECONDS):
        for _, value in workload.next([b"2026-11-22T00:00:00.000Z"] * RATE):
            reading = json.loads(value)
            by_patient[reading["patient_id"]].append(reading)
    return ward, by_patient


def _is_well(reading: dict) -> bool:
    low, high = WELL[reading["code"]]
    return low <= reading["value"] <= high


def test_only_patients_whose_turn_has_come_are_ever_unwell():
    ward, by_patient = _play()
    unwell = {patient for patient, readings in by_patient.items() if not all(map(_is_well, readings))}
    told = set(ward.ill(RATE * SECONDS))
    assert told <= unwell
    assert len(unwell) - len(told) < 10 * ONSETS_PER_S
    assert len(by_patient) == PATIENTS


def test_an_ill_patient_shows_every_signal_ill_and_gets_well_again():
    ward, by_patient = _play()
    early = ward.ill(int(RATE * (SECONDS - ILL_S - 2)))
    assert early
    for patient in early:
        readings = by_patient[patient]
        assert {reading["code"] for reading in readings if not _is_well(reading)} == set(WELL)
        assert all(map(_is_well, readings[-5:]))
