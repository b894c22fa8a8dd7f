"""PhysioNet/CinC Challenge 2019 stays, replayed as bedside vitals.

Holds: the loader of `training_setA.parquet` and its mapping to LOINC and UCUM.
Does not hold: the data (not ours to redistribute), laboratory values, or the sepsis label.

Source: Reyna et al., Critical Care Medicine 48(2):210-217, 2020; data doi 10.13026/v64v-d857. A stay's rows are hours
since admission (`ICULOS`) without a date; each stay is shifted by one constant, so that the time between its
readings stays as it was and its end lies in the recent past.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.simulator.physiology import DBP, HEART_RATE, MAP, RESPIRATORY_RATE, SBP, SPO2, TEMPERATURE
from infra.simulator.reading import Reading, encode
from infra.simulator.ward import ROW, Event

COLUMNS = {
    "HR": HEART_RATE,
    "O2Sat": SPO2,
    "Temp": TEMPERATURE,
    "SBP": SBP,
    "MAP": MAP,
    "DBP": DBP,
    "Resp": RESPIRATORY_RATE,
}

HOUR_MS = 3_600_000
EVENT_IDS = uuid.UUID("6f1b6e0e-2d0b-5c1e-9a53-0c1f3a7d9b42")


class StaysMissingError(FileNotFoundError):
    """The challenge's file is not where it was said to be."""


def load_stays(path: Path, stays: int) -> pa.Table:
    """The vitals of the first `stays` stays by id: patient_id, ICULOS, the `COLUMNS`; missing values null.

    Raises `StaysMissingError` where the file is absent.
    """
    if not path.is_file():
        raise StaysMissingError(
            f"{path} is absent: name training_setA.parquet of the PhysioNet Challenge 2019 (doi 10.13026/v64v-d857)"
        )
    table = pq.read_table(path, columns=["patient_id", "ICULOS", *COLUMNS])
    wanted = pc.unique(table["patient_id"]).sort().slice(0, stays)
    chosen = table.filter(pc.is_in(table["patient_id"], wanted))
    return chosen.sort_by([("patient_id", "ascending"), ("ICULOS", "ascending")])


def play_stays(stays: pa.Table, end_ms: int) -> Iterator[Event]:
    """The readings of all stays in the order of their (shifted) times; event ids are the same on every call.

    Each stay's last hour falls within the hour before `end_ms` (milliseconds since 1970 UTC), never after it.
    """
    events = _by_stay(stays, end_ms)
    return heapq.merge(*events, key=lambda event: event.due_ms)


def _by_stay(stays: pa.Table, end_ms: int) -> list[list[Event]]:
    rows: dict[str, list[dict[str, object]]] = {}
    for row in stays.to_pylist():
        rows.setdefault(row["patient_id"], []).append(row)
    return [_stay_events(number, stay, end_ms) for number, stay in enumerate(rows.values())]


def _stay_events(number: int, stay: list[dict], end_ms: int) -> list[Event]:
    patient = stay[0]["patient_id"].upper()
    device = f"MON-{number % 10_000:04d}"
    shift_ms = end_ms - (number * 7_919 % HOUR_MS) - stay[-1]["ICULOS"] * HOUR_MS
    measured = [(row["ICULOS"] * HOUR_MS + shift_ms, column, row[column]) for row in stay for column in COLUMNS]
    present = [(at_ms, column, value) for at_ms, column, value in measured if value is not None]
    return [_event(patient, device, seq, *reading) for seq, reading in enumerate(present, 1)]


def _event(patient: str, device: str, seq: int, at_ms: int, column: str, value: float) -> Event:
    signal = COLUMNS[column]
    event_id = str(uuid.uuid5(EVENT_IDS, f"{patient}/{seq}"))
    reading = Reading(
        event_id, patient, device, "ICU-1", signal.code, value, None, signal.unit, at_ms, None, seq
    )  # fmt: skip
    return Event(patient.encode(), encode(reading).encode(), "stay", event_id, patient, at_ms, ROW, None)
