"""The kept questions: each says what its rows are, passes the guard, and answers rightly on a small lake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipelines.clinical.stays import stay_rows, stays
from tests.warehouse.small_ward import NOON, ROWS, alert, at, positioned, reading, result
from tests.warehouse.test_analytics import created, lake
from warehouse.analytics import Analytics, vocabulary
from warehouse.contract import FOLDER, load_contracts
from warehouse.named_queries import UnknownQueryError, named_queries, named_query
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.views import views

NAMES = sorted(named_queries())

# What each question must answer on those rows: some columns of every row.
EXPECTED: dict[str, list[dict[str, Any]]] = {
    "vitals_latest": [
        {"subject_token": "t1", "name": "heart_rate", "numeric_value": 90.0, "age_s": 7199.0},
        {"subject_token": "t9", "name": "map", "numeric_value": 80.0, "age_s": 9840.0},
        {"subject_token": "t9", "name": "spo2", "numeric_value": 87.0, "age_s": 9000.0},
    ],
    "vitals_by_minute": [{"name": "heart_rate", "samples": 2, "mean": 85.0, "unit": "/min"}],
    "alerts_by_rule": [
        {"rule": "news2", "alerts": 3, "withheld_by_cool_down": 1, "withheld_as_expired": 1, "patients": 1}
    ],
    "alerts_answered": [{"rule": "news2", "model": None, "alerts": 3, "unanswered": 3, "p50_minutes": None}],
    "overrides_by_reason": [],
    "alert_latency": [
        {"late": False, "alerts": 2, "p50_ms": 20.0, "worst_ms": 30},
        {"late": True, "alerts": 1, "p50_ms": 5000.0, "worst_ms": 5000},
    ],
    "rejects_by_reason": [{"reason": "malformed_json", "rejects": 2, "bytes": 15, "patients": 1}],
    "duplicates_by_stream": [{"kafka_partition": 0, "duplicates": 1, "longest_distance": 7}],
    "rows_by_hour": [
        {"hour": NOON - timedelta(hours=1), "readings": 10, "patients": 1, "devices": 1, "flagged": 0},
        {"hour": NOON, "readings": 3, "patients": 1, "devices": 1, "flagged": 1, "p50_delay_s": 2.0},
        {"hour": NOON + timedelta(hours=1), "readings": 1, "patients": 0, "devices": 1, "flagged": 0},
    ],
    "quality_gate": [{"table_name": "vitals", "verdict": "held", "failed": ["expect_x"], "verdicts": 2}],
    "erasures": [
        {"request_id": "e1", "state": "deleted", "age_days": 0.1, "stores": 2, "left_over": 0, "bytes_removed": 750},
        {"request_id": "e2", "state": "received", "stores": None},
    ],
    "models_in_force": [{"role": "champion", "version": "v2", "learnt_stays": None}],
    "drift_found": [{"place": "ICU-1", "remedy": "mend the unit", "profile_stays": 900}],
    "drift_watched": [
        {"monitor": "scores", "seen_until": at(120), "stays": 5, "changes": 1, "since_change": 2, "mean": 0.5,
         "last_change_at": at(120)},
    ],
    "exports_out": [
        {"export_id": "x2", "age_days": 0.1, "recipient": "study-12", "rows": 12, "to_erase_for": 1},
        {"export_id": "x1", "made_at": at(0), "to_erase_for": 0},
    ],
    "shadow_agreement": [
        {"model_version": "v2", "told_version": "v1", "hours": 3, "patients": 2, "both": 1, "shadow_only": 1,
         "told_only": 1, "mean_apart": 0.25},
    ],
    "cohort_by_day": [{"people": 2, "readings": 15, "codes_at_most": 3}],
    "retention_by_table": [
        {"table_name": "vitals", "act": "cooled", "receipts": 1, "days": 2, "rows": 20, "days_to_undo": 0},
        {"table_name": "vitals", "act": "removed", "receipts": 2, "days": 2, "bytes": 200, "days_to_undo": 1},
    ],
    "holds_in_force": [{"hold": "h2", "table_name": "*", "last_day": None, "who": "m.meyer", "placed_at": at(60)}],
    "device_health": [
        {"device_id": "MON-1", "readings": 3, "repeated": 1, "out_of_range": 1, "flagged_percent": 33.3,
         "silent_s": 7198.0},
        {"device_id": "MON-3", "readings": 10, "repeated": 0, "codes": 2, "longest_gap_s": 840.0},
        {"device_id": "ECG-1", "table_name": "wearables", "readings": 3, "repeated": 0, "silent_s": 7195.0},
        {"device_id": "CGM-1", "table_name": "wearables", "readings": 4, "silent_s": 6300.0},
        {"device_id": "MON-2", "readings": 1, "without_patient": 1, "longest_gap_s": None, "silent_s": 3599.0},
        {"device_id": "SCALE-1", "readings": 2, "longest_gap_s": 86_400.0},
        {"device_id": "BAND-1", "readings": 2, "longest_gap_s": 10.0},
    ],
    "labs_latest": [
        {"name": "creatinine", "numeric_value": 1.9, "status": "F", "age_h": 2.0},
        {"name": "lactate", "numeric_value": 2.5, "status": "C", "reported_at": at(4800)},
        {"name": "platelets", "numeric_value": None, "status": "X"},
    ],
    "lab_corrections": [
        {"name": "lactate", "results": 1, "corrected": 1, "withdrawn": 0, "largest_change": 1.5, "median_hours": 1.0},
        {"name": "platelets", "results": 1, "corrected": 0, "withdrawn": 1, "largest_change": None},
        {"name": "creatinine", "results": 1, "corrected": 0, "withdrawn": 0, "corrected_percent": 0.0},
    ],
    "results_revised": [
        {"name": "platelets", "status": "X", "released_value": None, "numeric_value": None, "after_h": 1.0},
        {"name": "lactate", "status": "C", "released_value": 4.0, "numeric_value": 2.5, "after_h": 1.0},
    ],
    "lab_turnaround": [
        {"name": "creatinine", "results": 1, "p50_minutes": 30.0, "p50_to_kafka_s": 5.0},
        {"name": "platelets", "results": 1, "p50_minutes": 30.0},
        {"name": "lactate", "results": 1, "p50_minutes": 10.0},
    ],
    "organ_markers": [
        {"subject_token": "t1", "lactate": 2.5, "creatinine": 1.9, "platelets": None, "bilirubin": None, "strained": 2}
    ],
    "census": [{"ward": "ICU-1", "patients": 1, "median_ward_h": 1.0, "longest_stay_h": 2.0, "median_age": 70.0}],
    "adt_by_day": [
        {"ward": "ER", "admitted": 1, "moved_in": 0, "discharged": 0, "taken_back": 0, "entered_after_min": 2.0},
        {"ward": "ICU-1", "admitted": 2, "moved_in": 1, "discharged": 0, "taken_back": 0, "updated": 0},
        {"ward": None, "admitted": 0, "moved_in": 0, "discharged": 1, "taken_back": 1, "updated": 0},
    ],
    "drugs_given": [{"code": "7512", "given": 2, "patients": 1, "median_dose": 9.0, "unit": "mg", "uncharted": 0}],
    "orders_not_given": [{"order_id": "M-2", "dose": 8.0, "handed_out": False, "waits_min": 100.0}],
    "alert_context": [
        {"alert_id": alert_id, "name": "heart_rate", "readings": 1, "last": 80.0} for alert_id in ("a0", "a1", "a2")
    ],
    "alert_load": [{"hour": NOON, "alerts": 3, "grave": 0, "late": 1, "patients": 1, "per_patient": 3.0}],
    "stream_volume": [
        {"hour": NOON, "stream": "adt.events", "rows": 5, "refused": 0},
        {"hour": NOON, "stream": "clinical.alerts", "rows": 3, "refused": 0},
        {"hour": NOON, "stream": "clinical.alerts.withheld", "rows": 2, "refused": 0},
        {"hour": NOON, "stream": "device.vitals", "rows": 14, "refused": 2, "repeated": 1, "refused_percent": 11.76},
        {"hour": NOON, "stream": "iot.patient", "rows": 8, "refused": 0},
        {"hour": NOON, "stream": "lab.results", "rows": 4, "refused": 0},
        {"hour": NOON, "stream": "lineage.events", "rows": 3, "refused": 0},
        {"hour": NOON, "stream": "medication.events", "rows": 6, "refused": 0},
        {"hour": NOON + timedelta(hours=1), "stream": "adt.events", "rows": 1, "refused": 0},
        {"hour": NOON + timedelta(hours=1), "stream": "lab.results", "rows": 2, "refused": 0},
        {"hour": NOON + timedelta(hours=24), "stream": "iot.patient", "rows": 3, "refused": 0},
    ],
    "stream_freshness": [
        {"table_name": "alerts_withheld", "rows": 2, "behind_s": 7199.0, "p50_delay_s": 2.0},
        {"table_name": "rejects", "rows": 2, "behind_s": 7196.0},
        {"table_name": "alerts", "rows": 3, "behind_s": 7195.0},
        {"table_name": "duplicates", "rows": 1, "behind_s": 7192.0},
        {"table_name": "lineage_events", "rows": 3, "behind_s": 7180.0},
        {"table_name": "vitals", "rows": 14, "behind_s": 7165.0},
        {"table_name": "medication_events", "rows": 6, "behind_s": 5999.0},
        {"table_name": "adt_events", "rows": 6, "behind_s": 3479.0},
        {"table_name": "labs", "rows": 6, "behind_s": 1795.0},
        {"table_name": "wearables", "rows": 11, "behind_s": -82_710.0},
    ],
    "offsets_accounted": [
        {"stream": "adt.events", "rows": 6, "unaccounted": 0},
        {"stream": "clinical.alerts", "rows": 3, "unaccounted": 0},
        {"stream": "clinical.alerts.withheld", "rows": 2, "unaccounted": 0},
        {"stream": "device.vitals", "last_offset": 35, "rows": 14, "rejects": 2, "duplicates": 1, "unaccounted": 19},
        {"stream": "iot.patient", "rows": 11, "unaccounted": 0},
        {"stream": "lab.results", "rows": 6, "unaccounted": 0},
        {"stream": "lineage.events", "rows": 3, "unaccounted": 0},
        {"stream": "medication.events", "rows": 6, "unaccounted": 0},
    ],
    "unknown_fields": [{"stream": "iot.patient", "sender": "HOME", "messages": 11, "with_more": 1, "bytes": 6}],
    "codes_seen": [
        {"table_name": "labs", "name": "creatinine", "readings": 1, "maximum": 1.9, "plausible_high": 60.0},
        {"table_name": "labs", "name": "lactate", "readings": 1, "maximum": 2.5},
        {"table_name": "labs", "name": "platelets", "readings": 1, "maximum": None},
        {"table_name": "vitals", "name": "spo2", "readings": 6, "patients": 1, "minimum": 85.0},
        {"table_name": "vitals", "name": "map", "readings": 4, "patients": 1, "minimum": 50.0},
        {"table_name": "vitals", "name": "heart_rate", "readings": 4, "flagged": 1, "maximum": 999.0, "unit": "/min"},
        {"table_name": "wearables", "name": "interstitial_glucose", "readings": 4, "system": "http://loinc.org"},
        {"table_name": "wearables", "name": "ecg_lead_ii", "waves": 3, "minimum": None},
        {"table_name": "wearables", "name": "body_weight", "readings": 2, "maximum": 82.5},
        {"table_name": "wearables", "name": "heart_rate", "readings": 2, "patients": 2},
    ],
    "lateness": [
        {"stream": "adt.events", "messages": 6, "p50_s": 121.0, "ahead": 0, "over_an_hour": 0},
        {"stream": "device.vitals", "messages": 14, "ahead": 1, "over_an_hour": 2},
        {"stream": "iot.patient", "messages": 11, "p50_s": 1.0, "ahead": 2},
        {"stream": "lab.results", "messages": 6, "p50_s": 5.0, "ahead": 0},
        {"stream": "medication.events", "messages": 6, "p50_s": 1.0, "ahead": 0},
    ],
    "device_clocks": [
        {"device_id": "MON-2", "least_lag_s": -3592.0, "ahead": 1, "suspicion": "ahead"},
        {"device_id": "BAND-1", "least_lag_s": -100.0, "ahead": 2, "suspicion": "ahead"},
        {"device_id": "MON-3", "least_lag_s": 1835.0, "ahead": 0, "suspicion": "behind, or it stores"},
        {"device_id": "MON-1", "least_lag_s": 0.0, "readings": 3, "suspicion": None},
        {"device_id": "CGM-1", "least_lag_s": 1.0, "readings": 4, "suspicion": None},
        {"device_id": "ECG-1", "least_lag_s": 1.0, "suspicion": None},
        {"device_id": "SCALE-1", "least_lag_s": 1.0, "suspicion": None},
    ],
    "sensor_faults": [
        {"table_name": "vitals", "device_id": "MON-1", "name": "heart_rate", "sensor_fault": "stuck", "faulty": 2}
    ],
    "stay_lengths": [
        {"ward": "ICU-1", "stays": 3, "open": 1, "discharged": 1, "cancelled": 1, "expected": 0, "median_h": 2.0}
    ],
    "ward_flow": [
        {"from_ward": "ER", "to_ward": "ICU-1", "moves": 1, "open": 0, "median_h": 1.0},
        {"from_ward": "ICU-1", "to_ward": None, "moves": 1, "open": 1, "median_h": None},
    ],
    "hard_hours": [{"ward": "ICU-1", "hour": NOON, "per_patient": 1.5, "flagged_percent": 5.0, "alerts_highest": 1}],
    "restless_hours": [{"subject_token": "t1", "name": "heart_rate", "unit": "/min", "observed": 100.0, "swing": 10.0}],
    "devices_to_visit": [{"device_id": "MON-2", "days_of_clock": 1, "clock_flag": "ahead", "clock_offset_s": 30.0}],
    "lineage_runs": [
        {"job": "lake/vitals_by_minute", "made_of": ["vitals"], "runs": 2, "completed": 1, "failed": 1,
         "unfinished": 0, "median_s": 12.0},
    ],
    "population": [
        {"age_band": "70-79", "sex": "F", "patient_days": 4, "alerted_percent": 25.0, "alerts_per_100": 75.0}
    ],
    "glucose_in_range": [
        {"subject_token": "t2", "readings": 4, "worn": 100.0, "mean": 128.8, "below_54": 25.0, "below_70": 50.0,
         "in_range": 25.0, "above_180": 25.0, "above_250": 25.0, "gmi": 6.39},
    ],
    "weight_gain": [{"subject_token": "t2", "weights": 2, "newest_kg": 82.5, "gain_kg": 2.5, "over_days": 1.0}],
    "waves": [
        {"device_id": "ECG-1", "waves": 3, "samples": 12, "rate": 4.0, "covered_s": 3.0, "longest_break_s": 3.0}
    ],
    "low_pressure_time": [
        {"subject_token": "t9", "readings": 4, "observed_min": 11.0, "below_65_min": 7.0, "below_55_min": 2.0}
    ],
    "desaturations": [
        {"subject_token": "t9", "began_at": at(60 - 3600), "lasted_s": 60.0, "readings": 2, "lowest": 85.0},
        {"subject_token": "t9", "began_at": at(600 - 3600), "lasted_s": 0.0, "readings": 1, "lowest": 88.0},
        {"subject_token": "t9", "began_at": at(1800 - 3600), "lasted_s": 0.0, "readings": 1, "lowest": 87.0},
    ],
    "expectation_failures": [{"table_name": "vitals", "expectation": "expect_x", "days": 1, "still_failing": 1}],
    "patients_by_stream": [
        {"subject_token": "t1", "vitals": 3, "results": 3, "movements": 2, "drug_events": 6, "alerts": 3, "kinds": 5},
        {"subject_token": "t2", "vitals": 0, "wearables": 10, "movements": 2, "kinds": 2},
        {"subject_token": "t3", "wearables": 1, "movements": 2, "kinds": 2},
        {"subject_token": "t9", "vitals": 10, "kinds": 1},
    ],
    "device_changes": [{"device_id": "BAND-1", "patients": 2, "changes": 1, "quickest_s": 10.0}],
}  # fmt: skip


def filled(settings: Settings) -> None:
    for name, rows in ROWS.items():
        schema = arrow_schema(load_contracts().table(name))
        created(settings, name).append(pa.Table.from_pylist(rows, schema))


@pytest.fixture(scope="module")
def empty(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    settings = lake(store, tmp_path_factory.mktemp("empty"))
    created(settings, "vitals")
    with Analytics(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def small(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    settings = lake(store, tmp_path_factory.mktemp("small"))
    filled(settings)
    with Analytics(settings) as opened:
        yield opened


def asked(lake: Analytics, name: str) -> list[dict[str, Any]]:
    """The answer to a kept question, two hours after the first reading."""
    query = named_query(name)
    return lake.query(query.sql, parameters=query.parameters(at(7_200))).table.to_pylist()


def test_every_question_has_an_expected_answer():
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_question_runs_on_an_empty_lake(empty: Analytics, name: str):
    assert asked(empty, name) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_question_answers_rightly(small: Analytics, name: str):
    rows = asked(small, name)
    expected = EXPECTED[name]
    assert [{key: row[key] for key in wanted} for row, wanted in zip(rows, expected, strict=True)] == expected


def test_there_are_questions_over_every_table():
    asked = set(re.findall(r"\w+", " ".join(query.sql for query in named_queries().values())))
    behind = {table for view in views(load_contracts()).values() if view.name in asked for table in view.reads}
    assert len(NAMES) >= 20
    assert {table.name for table in load_contracts().tables()} - asked - behind == set()


@pytest.mark.parametrize("name", ["offsets_accounted", "stream_freshness", "stream_volume"])
def test_a_question_over_all_streams_leaves_none_out(name: str):
    asked = set(re.findall(r"\w+", named_query(name).sql))
    assert {table.name for table in load_contracts().tables() if table.positioned} <= asked


@pytest.mark.parametrize("name", ["offsets_accounted", "stream_volume"])
def test_of_a_stream_that_a_site_added_a_question_claims_no_rows_and_none_lost(name: str, tmp_path: Path):
    text = (FOLDER / "iot.patient.odcs.yaml").read_text()
    added = text.replace("iot.patient", "device.ventilators").replace("wearables", "ventilators")
    (tmp_path / "device.ventilators.odcs.yaml").write_text(added)
    contracts = load_contracts(own=tmp_path)
    rows = {
        "vitals": [reading(n, "t1", "8867-4", 80.0) for n in (0, 1, 3)],
        "ventilators": [reading(n, "t1", "9279-1", 12.0) for n in range(1, 6)],
        "rejects": [positioned(n, n, stream=stream) for n, stream in ((2, "device.vitals"), (0, "device.ventilators"))],
        "duplicates": [positioned(6, 6, stream="device.ventilators", event_id="e1", first_offset=1)],
    }
    with duckdb.connect(":memory:") as session:
        for table in contracts.tables():
            schema = arrow_schema(table)
            filled = [{**dict.fromkeys(schema.names), **row} for row in rows.get(table.name, [])]
            session.register(table.name, pa.Table.from_pylist(filled, schema))
        answer = session.execute(named_query(name).sql).to_arrow_table().to_pylist()
    counted = {row["stream"]: row for row in answer}
    assert counted["device.vitals"]["rows"] == 3
    assert counted["device.ventilators"]["rows"] is None
    assert {row.get("unaccounted", row.get("refused_percent")) for row in answer} == {
        None,
        0 if name[0] == "o" else 25.0,
    }


@pytest.mark.parametrize("name", ["offsets_accounted", "stream_volume"])
def test_no_stream_of_this_product_is_taken_for_one_that_a_site_added(name: str):
    own = {topic.stream for topic in load_contracts().topics()}
    listed = named_query(name).sql.split("stream IN (")[1].split(")")[0]
    assert set(re.findall(r"'([a-z.]+)'", listed)) == own


@pytest.mark.parametrize(
    ("events", "patients"),
    [
        (["A01"], 1),
        (["A01", "A03"], 0),
        (["A01", "A03", "A13"], 1),
        (["A01", "A02", "A11"], 0),
        (["A01", "A11", "A01"], 1),
        (["A04", "A08"], 0),
    ],
)
def test_the_census_goes_by_what_was_entered_last(events: list[str], patients: int):
    """Each is entered a minute after the one before it; cancellations bear the time of what they cancel."""
    rows = [moved(kind, 0 if kind in ("A11", "A13") else n, 60 * n, ward="ICU-1") for n, kind in enumerate(events)]
    assert sum(row["patients"] for row in census(rows)) == patients


def moved(kind: str, happened: float, entered: float | None, **columns: Any) -> dict[str, Any]:
    """An event of stay S1; times in seconds since noon."""
    schema = arrow_schema(load_contracts().table("adt_events"))
    times = {"event_time": at(happened), "recorded_at": None if entered is None else at(entered)}
    named = {"event_id": f"{kind}@{happened}+{entered}", "subject_token": "t1", "stay_id": "S1", "type": kind}
    return {**dict.fromkeys(schema.names), **named, **times, **columns}


def census(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The census of these events, twelve hours after noon."""
    query = named_query("census")
    with duckdb.connect(":memory:") as session:
        schema = arrow_schema(load_contracts().table("adt_events"))
        session.register("adt_events", pa.Table.from_pylist(rows, schema))
        return session.execute(query.sql, query.parameters(at(43_200))).to_arrow_table().to_pylist()


HOUR = 3_600
IN = moved("A01", HOUR, HOUR, ward="ICU-1", bed="3")
MOVE = moved("A02", 5 * HOUR, 5 * HOUR, ward="WARD-9", bed="7")
PLACES = {
    "a transfer": ([IN, MOVE], ("WARD-9", 1, 7.0)),
    "a transfer to no bed yet": ([IN, {**MOVE, "bed": None}], ("WARD-9", 0, 7.0)),
    "a transfer taken back without a place": ([IN, MOVE, moved("A12", 5 * HOUR, 6 * HOUR)], ("ICU-1", 1, 11.0)),
    "a transfer taken back without its time": ([IN, MOVE, moved("A12", 6 * HOUR, None)], ("ICU-1", 1, 11.0)),
    "a transfer taken back and made again": (
        [IN, MOVE, moved("A12", 5 * HOUR, 6 * HOUR), {**MOVE, "event_id": "again", "recorded_at": at(7 * HOUR)}],
        ("WARD-9", 1, 7.0),
    ),
    "a place corrected": ([IN, moved("A08", 2 * HOUR, 2 * HOUR, ward="ICU-2", bed="4")], ("ICU-2", 1, 11.0)),
    "a correction before the transfer, entered later": (
        [IN, MOVE, moved("A08", 2 * HOUR, 8 * HOUR, ward="ICU-2", bed="4")], ("WARD-9", 1, 7.0),
    ),
    "a discharge taken back in the same second": (
        [IN, moved("A03", 9 * HOUR, None), moved("A13", 9 * HOUR, None)], ("ICU-1", 1, 11.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_the_census_and_the_stays_know_the_same_place(name: str):
    rows, (ward, beds, hours) = PLACES[name]

    assert [(row["ward"], row["beds"], row["median_ward_h"]) for row in census(rows)] == [(ward, beds, hours)]
    assert [row["ward"] for row in stay_rows(stays(rows))] == [ward]


def answered(name: str, **tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answer to a kept question over these rows alone."""
    with duckdb.connect(":memory:") as session:
        session.register("codes", vocabulary())
        for table, rows in tables.items():
            schema = arrow_schema(load_contracts().table(table))
            filled = [{**dict.fromkeys(schema.names), **row} for row in rows]
            session.register(table, pa.Table.from_pylist(filled, schema))
        return session.execute(named_query(name).sql).to_arrow_table().to_pylist()


def words(*said: tuple[str, str | None, str, float]) -> list[dict[str, Any]]:
    """What was said: an action with its reason or outcome, the alert, and the minutes after noon."""
    return [
        {"event_id": f"w{n}", "subject_token": "t1", "alert_id": alert_id or None, "action": action,
         "reason": word if action == "overridden" else None, "outcome": word if action == "outcome" else None}
        | {"event_time": at(60 * minutes), "kafka_time": at(60 * minutes)}
        for n, (action, word, alert_id, minutes) in enumerate(said)
    ]  # fmt: skip


ANSWERED = words(
    ("acknowledged", None, "a0", 2.0), ("overridden", "treated", "a0", 4.0), ("acknowledged", None, "a1", 6.0),
    ("acted", None, "a1", 3.0), ("outcome", "no_sepsis", "", 50.0), ("outcome", "sepsis", "", 60.0),
)  # fmt: skip


def test_an_alert_with_several_words_counts_in_each_and_is_answered_by_the_first():
    alerts = [alert(0, 0), alert(1, 0), alert(2, 0), alert(3, 0, alert_id="b", retracts="a2")]
    alerts += [alert(4, 0, rule="sepsis", model="sepsis@v1")]
    news2, sepsis = answered("alerts_answered", alerts=alerts, alert_feedback=ANSWERED)
    assert news2 == {
        "rule": "news2", "model": None, "alerts": 3, "acknowledged": 2, "acted": 1, "overridden": 1, "unanswered": 1,
        "p50_minutes": 2.5,
    }  # fmt: skip
    assert (sepsis["model"], sepsis["unanswered"], sepsis["p50_minutes"]) == ("sepsis@v1", 1, None)


def test_of_what_was_overridden_it_is_told_what_came_of_it():
    (row,) = answered("overrides_by_reason", alerts=[alert(0, 0), alert(1, 0)], alert_feedback=ANSWERED)
    assert row == {
        "rule": "news2", "reason": "treated", "overridden": 1, "patients": 1, "septic": 1, "share_percent": 50.0,
    }  # fmt: skip


def test_a_result_is_one_though_only_its_final_report_names_the_laboratory():
    preliminary = {**result(0, "L-1", "2524-7", 3.0, "P", 300), "lab": None}
    (row,) = answered("lab_turnaround", labs=[preliminary, result(1, "L-1", "2524-7", 3.1, "F", 3_000)])
    assert (row["lab"], row["results"], row["p50_minutes"]) == ("CENTRAL", 1, 5.0)


def test_a_device_that_changed_patients_at_midnight_is_among_the_changes():
    before, after, next_one = (
        reading(n, token, "8867-4", 80.0, event_time=at(43_200 + seconds))
        for n, (token, seconds) in enumerate([("t1", -60), ("t2", 5), ("t2", 65)])
    )
    (row,) = answered("device_changes", vitals=[before, after, next_one], wearables=[])
    assert (row["day"], row["patients"], row["changes"], row["quickest_s"]) == (at(43_200), 1, 1, 65.0)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_that_a_head_explains_is_in_the_answer(empty: Analytics, name: str):
    query = named_query(name)
    columns = empty.query(query.sql, parameters=query.parameters(at(7_200))).table.column_names
    assert set(re.findall(r"\b[a-z]+_(?:s|h|ms|min|at|percent|hours|minutes)\b", query.units)) <= set(columns)


def test_a_question_without_a_grain_is_refused(tmp_path: Path):
    (tmp_path / "x.sql").write_text("-- What?\n-- units: none\n-- asked by: nobody\nSELECT 1")
    with pytest.raises(ValueError, match=r"x\.sql lacks grain"):
        named_queries(tmp_path)


def test_a_head_may_run_over_several_lines(tmp_path: Path):
    (tmp_path / "x.sql").write_text("-- What?\n-- grain: one row\n-- units: s;\n--   UTC\n-- asked by: all\nSELECT 1")
    query = named_query("x", tmp_path)
    assert (query.question, query.grain, query.units, query.asked_by) == ("What?", "one row", "s; UTC", "all")


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(UnknownQueryError, match=r"no named query alert_lod; did you mean alert_load"):
        named_query("alert_lod")
    with pytest.raises(UnknownQueryError, match=r"no named query nothing; there are .*vitals_latest"):
        named_query("nothing")
