"""Stays of the PhysioNet Challenge 2019: on a small table of our own, and on the real file where it is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.loaders.loaded import HOUR_MS, SourceMissingError
from infra.loaders.physionet import COLUMNS, load_stays, play_stays
from infra.simulator.__main__ import main
from tests.infra.loaders.judged import faults

END_MS = 1_795_000_000_000
BESIDE = Path(__file__).parents[4] / "shared" / "data" / "physionet2019" / "training_setA.parquet"
SET_A = Path(os.environ.get("PHYSIONET_SET_A") or BESIDE)


@pytest.fixture
def stays(tmp_path: Path) -> pa.Table:
    """Two stays of three and two hours; of most hours only the pulse is known."""
    hours = [("p000002", 1), ("p000001", 1), ("p000001", 2), ("p000001", 4), ("p000002", 2)]
    columns = {"patient_id": [p for p, _ in hours], "ICULOS": [h for _, h in hours]}
    columns |= {name: pa.nulls(5, pa.float64()) for name in COLUMNS}
    columns["HR"] = [70.0, 71.0, 72.0, None, 73.0]
    columns["Temp"] = [None, None, None, 37.5, None]
    columns["Lactate"] = [None, None, float("nan"), None, 2.5]
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    return load_stays(tmp_path / "set.parquet", 2)


def test_only_what_was_measured_is_sent(stays: pa.Table) -> None:
    said = [json.loads(event.value) for event in play_stays(stays, END_MS)]

    assert sorted((one["patient_id"], one["code"], one["value"]) for one in said) == [
        ("P10000001", "8310-5", 37.5),
        ("P10000001", "8867-4", 71.0),
        ("P10000001", "8867-4", 72.0),
        ("P10000002", "2524-7", 2.5),
        ("P10000002", "8867-4", 70.0),
        ("P10000002", "8867-4", 73.0),
    ]


def test_a_stay_is_shifted_by_one_constant_and_ends_in_the_hour_before(stays: pa.Table) -> None:
    due: dict[str, list[int]] = {}
    for event in play_stays(stays, END_MS):
        due.setdefault(event.patient, []).append(event.due_ms)

    assert [later - due["P10000001"][0] for later in due["P10000001"]] == [0, HOUR_MS, 3 * HOUR_MS]
    assert all(END_MS - HOUR_MS < times[-1] <= END_MS for times in due.values())


def test_readings_come_in_the_order_of_their_times(stays: pa.Table) -> None:
    due = [event.due_ms for event in play_stays(stays, END_MS)]

    assert due == sorted(due)


def test_event_ids_are_the_same_every_time(stays: pa.Table) -> None:
    first, again = ([event.event_id for event in play_stays(stays, end_ms)] for end_ms in (END_MS, END_MS + 5_000))

    assert sorted(first) == sorted(again)
    assert len(set(first)) == len(first)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="is absent"):
        load_stays(tmp_path / "nowhere.parquet", 500)


def test_the_command_says_so_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = ["--bootstrap", "127.0.0.1:1", "--topic", "t", "--ledger", str(tmp_path / "ledger")]

    assert main(["stays", "--file", str(tmp_path / "nowhere.parquet"), *there]) == 2
    assert "training_setA.parquet" in capsys.readouterr().err


@pytest.mark.skipif(not SET_A.is_file(), reason=f"{SET_A} is not on this machine")
def test_five_hundred_real_stays_are_right_messages() -> None:
    stays = load_stays(SET_A, 500)
    events = list(play_stays(stays, END_MS))

    assert len({event.patient for event in events}) == 500
    assert len(events) == sum(len(stays) - stays[name].null_count for name in COLUMNS)
    assert {event.stream for event in events} == {"device.vitals", "lab.results"}
    assert faults(events) == 0
