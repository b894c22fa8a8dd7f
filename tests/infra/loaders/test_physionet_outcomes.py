"""Outcomes of PhysioNet's stays: the labels of the file can be made again from what is told of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.loaders.loaded import FEEDBACK, HOUR_MS
from infra.loaders.physionet import COLUMNS, load
from infra.loaders.physionet_outcomes import play_outcomes
from infra.simulator.ward import Event
from pipelines.clinical.sepsis.learning_set import read_parquet
from pipelines.clinical.sepsis.utility import LABEL_AHEAD_H
from tests.pipelines import messages
from warehouse.contract import load_contracts

END_MS = 1_795_309_500_000
BESIDE = Path(__file__).parents[4] / "shared" / "data" / "physionet2019" / "training_setA.parquet"
SET_A = Path(os.environ.get("PHYSIONET_SET_A") or BESIDE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A stay without sepsis, one marked from its third hour on, one from its first."""
    marks = {"p000001": [0] * 5, "p000002": [0, 0] + [1] * 9, "p000003": [1] * 6}
    rows = [(name, hour, mark) for name, all_marks in marks.items() for hour, mark in enumerate(all_marks, 1)]
    columns = {"patient_id": [row[0] for row in rows], "ICULOS": [row[1] for row in rows]}
    columns |= {name: pa.array([70.0] * len(rows)) for name in COLUMNS}
    columns |= {"SepsisLabel": [row[2] for row in rows]}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    return tmp_path / "set.parquet"


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _told(events: Iterable[Event]) -> dict[str, dict]:
    return {event.patient: json.loads(event.value or b"") for event in events if event.stream == FEEDBACK}


def test_the_onset_is_six_hours_after_the_first_mark(file: Path) -> None:
    events = list(load(file, END_MS).events)
    told = _told(events)
    first = {name: min(event.due_ms for event in events if event.patient == name) for name in told}
    onset = {name: one["onset_at"] and (_ms(one["onset_at"]) - first[name]) / HOUR_MS for name, one in told.items()}

    assert {name: one["outcome"] for name, one in told.items()} == {
        "P10000001": "no_sepsis",
        "P10000002": "sepsis",
        "P10000003": "sepsis",
    }
    assert onset == {"P10000001": None, "P10000002": 2 + LABEL_AHEAD_H, "P10000003": LABEL_AHEAD_H}


def test_they_are_told_when_the_stay_is_over_and_no_onset_is_told_before_it_came(file: Path) -> None:
    events = list(load(file, END_MS).events)
    for name, one in _told(events).items():
        mine = [event for event in events if event.patient == name]
        assert mine[-1].stream == FEEDBACK
        assert mine[-1].due_ms == _ms(one["event_time"]) >= _ms(one["onset_at"] or one["event_time"])


def test_of_so_many_stays_so_many_outcomes_and_of_a_file_without_labels_none(file: Path) -> None:
    assert len(play_outcomes(file, END_MS, 2)) == 2
    pq.write_table(pq.read_table(file).drop_columns(["SepsisLabel"]), file)
    assert play_outcomes(file, END_MS) == []


@pytest.mark.skipif(not SET_A.is_file(), reason=f"{SET_A} is not on this machine")
def test_labels_of_real_stays_are_made_again_from_what_is_told() -> None:
    stays = 1500
    outcomes = play_outcomes(SET_A, END_MS, stays)
    contract = load_contracts().stream(FEEDBACK)
    worked = messages.worked([event.value for event in outcomes], contract, [event.key for event in outcomes])
    assert not worked.rejects
    told = _told(outcomes)
    known = read_parquet(SET_A)
    for at, name in enumerate(known.patients[:stays].tolist()):
        low, high = int(known.panel.starts[at]), int(known.panel.starts[at + 1])
        one = told[f"P1{int(name[1:]):07d}"]
        hour = known.panel.hour[low:high]
        end = END_MS - at * 7_919 % HOUR_MS
        at_ms = end + (hour - hour[-1]) * HOUR_MS
        onset = _ms(one["onset_at"]) if one["onset_at"] else np.iinfo(np.int64).max
        assert np.array_equal(at_ms >= onset - LABEL_AHEAD_H * HOUR_MS, known.labels[low:high])
