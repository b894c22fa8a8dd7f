"""Who PhysioNet's stays are of, as admissions: age, sex, the way to intensive care.

Holds: the events of `adt.events` that go before the readings of `physionet.py`, in the same shifted times.
Does not hold: readings, results, or the sepsis label.

The challenge tells an age, a sex (1 is male), the unit, and the hours from the admission to intensive care back to that
to the hospital. A date of birth is made up that gives the age in whole years; nobody's real one is known.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from infra.loaders.loaded import ADMISSIONS, HOUR_MS, event_id, message, patient_id, stay_end_ms
from infra.simulator.reading import iso_utc
from infra.simulator.ward import Event

COLUMNS = ("Age", "Gender", "Unit1", "Unit2", "HospAdmTime")


def play_people(path: Path, end_ms: int, stays: int | None = None) -> list[Event]:
    """The admissions of the first `stays` stays by id, in the order of their times, with the shifts of `play_stays`;
    none where the file tells nothing of people."""
    if not set(COLUMNS) <= set(pq.read_schema(path).names):
        return []
    table = pq.read_table(path, columns=["patient_id", "ICULOS", *COLUMNS])
    rows = table.sort_by([("patient_id", "ascending"), ("ICULOS", "ascending")]).to_pylist()
    last = {row["patient_id"]: row for row in rows}
    chosen = sorted(last)[:stays]
    events = [event for number, name in enumerate(chosen) for event in _of_stay(number, last[name], end_ms)]
    return sorted(events, key=lambda event: event.due_ms)


def _of_stay(number: int, row: dict[str, Any], end_ms: int) -> list[Event]:
    patient = patient_id("physionet", int(row["patient_id"][1:]))
    intensive_ms = stay_end_ms(number, end_ms) + HOUR_MS - row["ICULOS"] * HOUR_MS
    before_h = row["HospAdmTime"]
    ward = "MICU-1" if row["Unit1"] == 1 else "SICU-1" if row["Unit2"] == 1 else "ICU-1"
    if before_h is None or math.isnan(before_h) or before_h >= 0:
        return [_event(patient, row, "A01", ward, intensive_ms, intensive_ms)]
    hospital_ms = intensive_ms + round(before_h * HOUR_MS)
    return [
        _event(patient, row, "A01", "WARD-1", hospital_ms, intensive_ms),
        _event(patient, row, "A02", ward, intensive_ms, intensive_ms),
    ]


def _event(patient: str, row: dict[str, Any], kind: str, ward: str, at_ms: int, intensive_ms: int) -> Event:
    year = datetime.fromtimestamp(intensive_ms / 1000, UTC).year
    age = row["Age"]
    born = None if age is None or math.isnan(age) else f"{year - math.floor(age)}-07-01"
    fields = {
        "event_id": event_id("physionet", kind, patient),
        "stay_id": event_id("physionet", "stay", patient),
        "type": kind, "ward": ward, "bed": None, "event_time": iso_utc(at_ms), "recorded_at": iso_utc(at_ms),
        "identifiers": [], "name": {"family": None, "given": None}, "birth_date": born,
        "sex": {0: "F", 1: "M"}.get(row["Gender"], "U"),
    }  # fmt: skip
    return message(ADMISSIONS, kind, patient, intensive_ms, fields)
