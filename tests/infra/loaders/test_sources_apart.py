"""Sources beside each other and beside the simulator: whose patients are whose, and what an order number gives away."""

from __future__ import annotations

import json
import re
from itertools import combinations, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.loaders import cgm, icu, mimic, physionet
from infra.loaders.loaded import PATIENTS, RESULTS, patient_id
from infra.simulator.hospital import play_hospital
from infra.simulator.ward import ROW, Event
from tests.infra.loaders.test_small_sources import record, tables
from warehouse.contract import load_contracts

END_MS = 1_795_000_000_000
HALF_AN_HOUR_MS = 1_800_000


def of_physionet(folder: Path) -> list[Event]:
    """One hour of two stays, of which one has the number that one of the small MIMIC's patients has."""
    columns = {"patient_id": ["p000001", "p010006"], "ICULOS": [1, 1]}
    columns |= {name: [70.0, 71.0] for name in physionet.COLUMNS}
    pq.write_table(pa.table(columns), folder / "set.parquet")
    return list(physionet.load(folder / "set.parquet", END_MS).events)


def of_cgm(folder: Path) -> list[Event]:
    (folder / "cgm.csv").write_text("id,time,gl\na,2015-06-06 16:50:27,153\nb,2015-06-06 17:05:27,137\n")
    return list(cgm.load(folder / "cgm.csv", END_MS).events)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Event]]:
    folder = tmp_path_factory.mktemp("sources")
    return {
        "simulator": [e for e in play_hospital(7, END_MS, HALF_AN_HOUR_MS, 12) if e.fate == ROW],
        "physionet": of_physionet(folder),
        "mimic": list(mimic.load(tables(folder), END_MS).events),
        "cgm": of_cgm(folder),
        "icu": list(icu.load(record(folder), END_MS).events),
    }


def test_no_two_sources_nor_the_simulator_share_a_patient(sources: dict[str, list[Event]]) -> None:
    people = {name: {event.key for event in events} for name, events in sources.items()}

    assert all(people.values())
    assert not {(one, other) for one, other in combinations(people, 2) if people[one] & people[other]}


def test_no_number_belongs_to_two_sources_and_none_has_the_simulator_s_six_digits() -> None:
    ends = sorted((numbers.start, numbers.stop) for numbers in PATIENTS.values())

    assert all(stop <= start for (_, stop), (start, _) in pairwise(ends))
    assert ends[0][0] > 999_999
    with pytest.raises(IndexError):
        patient_id("physionet", 10_000_000)


def test_patients_of_every_source_are_of_the_shape_that_contracts_name(sources: dict[str, list[Event]]) -> None:
    shape = re.compile(load_contracts().stream("lab.results").topic.key_pattern)

    patients = {event.patient for events in sources.values() for event in events if event.patient}
    assert not [patient for patient in patients if not shape.fullmatch(patient)]


@pytest.mark.parametrize("name", ["simulator", "physionet", "mimic"])
def test_no_order_and_no_stay_is_numbered_by_its_patient(sources: dict[str, list[Event]], name: str) -> None:
    """Both are kept in clear beside the pseudonym: with the patient's number in them, they would be the way back."""
    said = [json.loads(event.value) for event in sources[name]]
    given = [(one["patient_id"], one[field]) for one in said for field in ("order_id", "stay_id") if field in one]

    assert given
    assert not [(patient, number) for patient, number in given if patient[-5:] in number]


def test_the_orders_of_a_patient_are_numbered_alike_each_time(tmp_path: Path) -> None:
    once, again = (
        [json.loads(event.value)["order_id"] for event in of_physionet(tmp_path) if event.stream == RESULTS]
        for _ in range(2)
    )

    assert once == again
    assert len(set(once)) == 2


def test_every_reading_says_when_its_source_had_it(sources: dict[str, list[Event]]) -> None:
    """Without it a device whose history is sent today would look as if its clock were behind."""
    readings = [json.loads(e.value) for name in PATIENTS for e in sources[name] if e.kind == "reading"]

    assert readings
    assert all("received_at" in one for one in readings)
