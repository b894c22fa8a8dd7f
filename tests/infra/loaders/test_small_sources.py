"""The glucose file, the monitor's record and MIMIC's tables: on small files of our own, and on the real ones."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from infra.loaders import cgm, icu, mimic
from infra.loaders.loaded import HOUR_MS, Loaded, SourceMissingError, event_id
from infra.simulator.ward import Event
from tests.infra.loaders.judged import faults

END_MS = 1_795_000_000_000
BESIDE = Path(__file__).parents[4] / "shared" / "data"
REAL = {
    "cgm": BESIDE / "cgm" / "real" / "example_data_5_subject.csv",
    "icu": BESIDE / "waveforms" / "s00001-2896-10-10-00-31n.hea",
    "mimic": BESIDE / "mimic3_demo",
}


def said(loaded: Loaded) -> list[dict]:
    return [json.loads(event.value) for event in loaded.events]


@pytest.mark.parametrize("loader", [cgm, icu, mimic])
def test_an_absent_source_is_named(loader, tmp_path: Path) -> None:
    with pytest.raises(SourceMissingError, match="is absent: name"):
        loader.load(tmp_path / "nowhere", END_MS)


def test_each_person_s_glucose_ends_in_the_hour_before(tmp_path: Path) -> None:
    rows = [
        "a,2015-06-06 16:50:27,153",
        "a,2015-06-06 17:05:27,137",
        "b,2016-01-01 00:00:00,60",
        "a,2015-06-06 17:10:00,",
    ]
    (tmp_path / "cgm.csv").write_text("\n".join(["id,time,gl", *rows]) + "\n")

    loaded = cgm.load(tmp_path / "cgm.csv", END_MS)
    events = list(loaded.events)

    mine = [event.due_ms for event in events if event.patient == "P30000001"]

    assert tuple(said(loaded)[0][name] for name in ("value", "unit", "code")) == (153, "mg/dL", "99504-3")
    assert mine[1] - mine[0] == 15 * 60_000
    assert loaded.not_sent == {"no number": 1}
    assert {event.patient for event in events} == {"P30000001", "P30000002"}
    assert all(END_MS - HOUR_MS < event.due_ms <= END_MS for event in events[1:])


def record(folder: Path) -> Path:
    """Two minutes of heart rate, RESP with an ADC zero, and PULSE."""
    (folder / "r.hea").write_text(
        "r 3 0.0166666666667/125 2\nr.dat 16 10/bpm 16 0 0 0 0 HR\nr.dat 16 10/pm 16 5 0 0 0 RESP\n"
        "r.dat 16 10/bpm 16 0 0 0 0 PULSE\n# a remark\n"
    )
    np.array([[720, 165, 700], [0, -32_768, 700]], "<i2").tofile(folder / "r.dat")
    return folder / "r.hea"


def test_zeros_of_a_monitor_are_sent_and_invalid_samples_are_not(tmp_path: Path) -> None:
    loaded = icu.load(record(tmp_path), END_MS)

    assert [(one["code"], one["value"]) for one in said(loaded)] == [
        ("8867-4", 72.0),
        ("9279-1", 16.0),
        ("8867-4", 0.0),
    ]
    assert (loaded.rows, loaded.mapped, dict(loaded.not_sent)) == (6, 4, {"invalid": 1})


def test_a_baseline_that_the_header_names_counts_before_the_adc_s_zero(tmp_path: Path) -> None:
    header = record(tmp_path)
    header.write_text(header.read_text().replace("10/pm", "10(-35)/pm"))

    assert [one["value"] for one in said(icu.load(header, END_MS)) if one["code"] == "9279-1"] == [20.0]


def test_another_format_of_record_is_refused(tmp_path: Path) -> None:
    header = record(tmp_path)
    header.write_text(header.read_text().replace("r.dat 16 10/bpm", "r.dat 212 10/bpm"))

    with pytest.raises(ValueError, match="format 16"):
        icu.load(header, END_MS)


def tables(folder: Path, gases: Sequence[str] = ()) -> Path:
    """Two stays of one patient; the second has a chart stored before it was charted and a bound in words."""
    files = {
        "patients": ["subject_id,gender,dob", "10006,F,2094-03-05 00:00:00", "10007,M,1870-01-01 00:00:00"],
        "admissions": [
            "row_id,subject_id,hadm_id,admittime,dischtime,edregtime",
            "1,10006,100,2164-10-20 00:00:00,2164-10-21 00:00:00,",
            "2,10006,200,2165-01-01 10:00:00,2165-01-02 10:00:00,2165-01-01 09:00:00",
            "3,10007,300,2165-01-01 10:00:00,2165-01-02 10:00:00,",
        ],
        "transfers": [
            "row_id,subject_id,hadm_id,eventtype,curr_careunit,curr_wardid,intime",
            "1,10006,200,admit,MICU,52,2165-01-01 10:00:00",
            "2,10006,200,transfer,,45,2165-01-01 20:00:00",
            "3,10006,200,discharge,,,2165-01-02 10:00:00",
        ],
        "chartevents_1": [
            "row_id,subject_id,hadm_id,itemid,charttime,value,valuenum,valueuom,storetime,error",
            "1,10006,200,220045,2165-01-01 12:00:00,88,88,bpm,2165-01-01 12:14:00,0",
            "2,10006,200,678,2165-01-01 12:10:00,98.6,98.6,Deg. F,2165-01-01 12:05:00,",
            "3,10006,200,220045,2165-01-01 13:00:00,300,300,bpm,2165-01-01 13:00:00,1",
            "4,10006,200,999,2165-01-01 13:00:00,1,1,,2165-01-01 13:00:00,",
        ],
        "labevents": [
            "row_id,subject_id,hadm_id,itemid,charttime,value,valuenum,valueuom",
            "1,10006,200,50912,2165-01-01 11:00:00,LESS THAN 0.4,,mg/dL",
            "2,10006,,50983,2164-12-24 11:00:00,140,140,mEq/L",
            "3,10006,200,50983,2165-01-01 11:30:00,HEMOLYZED,,mEq/L",
            "4,10006,200,50983,2165-01-01 11:40:00,7,7,furlong",
            *gases,
        ],
    }
    for name, lines in files.items():
        with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def stays(tmp_path: Path) -> Loaded:
    return mimic.load(tables(tmp_path), END_MS)


def order(row: int) -> str:
    return event_id("mimic", "order", row)


def stay(number: int) -> str:
    return event_id("mimic", "stay", number)


def test_charts_leave_when_they_were_stored_and_tell_when_they_were_charted(stays: Loaded) -> None:
    charts = [one for one in said(stays) if one.get("device_id")]

    assert [(one["value"], one["unit"]) for one in charts] == [(98.6, "[degF]"), (88.0, "/min")]
    assert charts[0]["event_time"] > charts[0]["received_at"]
    assert charts[1]["event_time"] < charts[1]["received_at"]


def test_a_bound_in_words_becomes_a_comparator_and_a_strange_unit_stays_strange(stays: Loaded) -> None:
    results = {one["order_id"]: one for one in said(stays) if "order_id" in one}

    assert (results[order(1)]["comparator"], results[order(1)]["value"]) == ("<", 0.4)
    assert results[order(2)]["unit"] == "meq/L"
    assert results[order(4)]["unit"] == "furlong"
    assert (stays.rows, stays.mapped) == (8, 7)
    assert stays.not_sent == {"marked as an error": 1, "no number": 1}
    assert faults(stays.events) == 1


def test_a_blood_gas_is_sent_only_where_its_specimen_is_said_to_be_arterial(tmp_path: Path) -> None:
    """The codes of pH, pO2 and pCO2 are those of arterial blood; lactate may be of any."""
    specimens = {"08": ["ART"], "09": ["VEN"], "10": [], "11": ["ART", "MIX"]}
    gases = [
        f"{hour}{n},10006,200,{item},2165-01-01 {hour}:30:00,{value},{value if item != 50800 else ''},"
        for hour, said in specimens.items()
        for n, (item, value) in enumerate([*((50800, each) for each in said), (50821, 95), (50820, 7.4), (50813, 2)])
    ]
    loaded = mimic.load(tables(tmp_path, gases), END_MS)
    sent = Counter(one["code"] for one in said(loaded) if one.get("order_id"))

    assert (sent["2703-7"], sent["2744-1"], sent["2524-7"]) == (1, 1, 4)
    assert loaded.not_sent["blood gas of other than arterial blood"] == 4
    assert loaded.not_sent["blood gas not said to be arterial"] == 2


def test_total_co2_is_not_taken_for_bicarbonate() -> None:
    assert [item for item, each in mimic.LABS.items() if each.code == "1963-8"] == [50882]


def test_stays_become_registrations_admissions_transfers_and_discharges(stays: Loaded) -> None:
    moves = [one for one in said(stays) if one.get("stay_id") == stay(200)]

    assert [(one["type"], one["ward"]) for one in moves] == [
        ("A04", None), ("A01", "MICU"), ("A02", "WARD-45"), ("A03", None),
    ]  # fmt: skip


def test_an_age_that_mimic_hides_stays_hidden(stays: Loaded) -> None:
    born = {one["patient_id"]: one.get("birth_date") for one in said(stays) if "stay_id" in one}

    assert born["P20010007"] is None
    assert born["P20010006"] is not None


def test_each_stay_is_shifted_by_one_constant_and_a_patient_s_stays_follow_each_other(stays: Loaded) -> None:
    by_stay: dict[str, list[Event]] = defaultdict(list)
    for event in stays.events:
        fields = json.loads(event.value)
        by_stay[fields.get("stay_id", "")].append(event)

    assert by_stay[stay(200)][-1].due_ms - by_stay[stay(200)][0].due_ms == 25 * HOUR_MS
    assert END_MS - HOUR_MS < by_stay[stay(200)][-1].due_ms <= END_MS
    assert by_stay[stay(100)][-1].due_ms < by_stay[stay(200)][0].due_ms


def real(name: str) -> Path:
    if not REAL[name].exists():
        pytest.skip(f"{REAL[name]} is not on this machine")
    return REAL[name]


def test_the_real_glucose_file_is_right_messages() -> None:
    events = list(cgm.load(real("cgm"), END_MS).events)

    assert len(events) == 13_866
    assert faults(events) == 0


def test_the_real_monitor_s_record_is_right_messages() -> None:
    events = list(icu.load(real("icu"), END_MS).events)

    assert Counter(json.loads(event.value)["value"] == 0 for event in events)[True] > 100
    assert faults(events) == 0


def test_of_ten_real_mimic_patients_at_most_one_message_in_a_hundred_is_refused() -> None:
    loaded = mimic.load(real("mimic"), END_MS, 10)
    events = list(loaded.events)

    assert len(events) > 10_000
    assert faults(events) <= len(events) / 100
