"""Admissions of PhysioNet's stays: whole years, the unit, and the way to intensive care."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.loaders.physionet import COLUMNS, load
from infra.loaders.physionet_people import play_people
from tests.pipelines import messages

END_MS = 1_795_309_500_000
HOUR_MS = 3_600_000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    hours = [("p000001", 1), ("p000001", 3), ("p000002", 2)]
    columns = {"patient_id": [p for p, _ in hours], "ICULOS": [h for _, h in hours]}
    columns |= {name: pa.array([70.0] * 3) for name in COLUMNS}
    columns |= {"Age": [83.14, 83.14, 61.0], "Gender": [0, 0, 1], "Unit1": [1.0, 1.0, None], "Unit2": [0.0, 0.0, None]}
    columns |= {"HospAdmTime": [-98.6, -98.6, None]}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    return tmp_path / "set.parquet"


def _said(file: Path) -> list[dict]:
    return [json.loads(event.value or b"") for event in play_people(file, END_MS)]


def test_a_stay_is_admitted_to_hospital_and_then_to_intensive_care(file: Path) -> None:
    told = {(one["patient_id"], one["type"]): one for one in _said(file)}
    assert set(told) == {("P10000001", "A01"), ("P10000001", "A02"), ("P10000002", "A01")}
    assert told["P10000001", "A02"]["ward"] == "MICU-1"
    assert told["P10000002", "A01"]["ward"] == "ICU-1"
    came, intensive = (datetime.fromisoformat(told["P10000001", kind]["event_time"]) for kind in ("A01", "A02"))
    assert (intensive - came).total_seconds() == 98.6 * 3600
    assert intensive.year - int(told["P10000001", "A01"]["birth_date"][:4]) == 83


def test_intensive_care_begins_with_the_first_hour_of_the_readings(file: Path) -> None:
    first = min(event.due_ms for event in load(file, END_MS).events if event.patient == "P10000001")
    assert {event.due_ms for event in play_people(file, END_MS) if event.patient == "P10000001"} == {first}


def test_they_are_right_messages(file: Path) -> None:
    events = play_people(file, END_MS)
    batch = messages.worked([event.value for event in events], messages.ADT, [event.key for event in events])
    assert not batch.rejects
