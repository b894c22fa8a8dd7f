"""Rows of a small ward for the kept questions: a few of each table, at positions of their own."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = datetime(2026, 11, 22, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def positioned(offset: int, appended: float, **columns: Any) -> dict[str, Any]:
    position = {"topic_id": "topic", "kafka_partition": 0, "kafka_offset": offset, "kafka_time": at(appended)}
    return {**position, "ingest_time": at(appended + 2), **columns}


def reading(offset: int, token: str | None, code: str, value: float, **columns: Any) -> dict[str, Any]:
    shown = {"subject_token": token, "device_id": "MON-1", "ward": "ICU-1", "code": code, "numeric_value": value}
    named = {"event_id": f"e{offset}", "event_time": at(offset), "unit": "/min", **shown, **columns}
    return positioned(offset, offset, **named)


def result(offset: int, order: str, code: str, value: float | None, status: str, reported: float) -> dict[str, Any]:
    """A version of a laboratory result, collected at noon."""
    named = {"subject_token": "t1", "order_id": order, "code": code, "unit": "mmol/L", "lab": "CENTRAL"}
    times = {"collected_at": at(0), "reported_at": at(reported)}
    told = {"event_id": f"l{offset}", "numeric_value": value, "status": status}
    return positioned(offset, reported + 5, **named, **times, **told)


def standing(
    order: str, code: str, status: str, value: float | None, reported: float, **columns: Any
) -> dict[str, Any]:
    """A result as it stands, collected at noon."""
    named = {"subject_token": "t1", "order_id": order, "code": code, "lab": "CENTRAL", "unit": "mmol/L"}
    times = {"collected_at": at(0), "first_reported_at": at(600), "reported_at": at(reported)}
    return {**named, **times, "status": status, "numeric_value": value, "versions": 3, **columns}


def movement(offset: int, stay: str, kind: str, ward: str | None, happened: float, **columns: Any) -> dict[str, Any]:
    named = {"subject_token": f"t{stay[-1]}", "stay_id": stay, "type": kind, "ward": ward, "birth_year": 1956}
    times = {"event_time": at(happened), "recorded_at": at(happened + 120)}
    return positioned(offset, happened + 121, event_id=f"m{offset}", **named, **times, **columns)


def drug(offset: int, order: str, action: str, happened: float, dose: float | None = 8.0) -> dict[str, Any]:
    named = {"subject_token": "t1", "order_id": order, "action": action, "code": "7512", "route": "IV"}
    given = {"event_id": f"d{offset}", "dose": dose, "unit": None if dose is None else "mg", "event_time": at(happened)}
    return positioned(offset, happened + 1, **named, **given)


def wearable(offset: int, code: str, value: float | None, happened: float, **columns: Any) -> dict[str, Any]:
    named = {"subject_token": "t2", "device_id": "CGM-1", "ward": "HOME", "code": code, "numeric_value": value}
    return positioned(
        offset, happened + 1, **{"event_id": f"w{offset}", "event_time": at(happened), **named, **columns}
    )


def wave(offset: int, happened: float) -> dict[str, Any]:
    """A second of an electrocardiogram at 4 Hz."""
    return wearable(offset, "131330", None, happened, samples=[0.1, 0.2, 0.3, 0.4], period_ms=250.0, device_id="ECG-1")


PRESSURES = [(70.0, 0), (60.0, 4), (50.0, 14), (80.0, 16)]
SATURATIONS = [(95.0, 0), (89.0, 1), (85.0, 2), (92.0, 3), (88.0, 10), (87.0, 30)]


def morning(offset: int, code: str, value: float, minute: float) -> dict[str, Any]:
    """A reading of another patient, minutes after eleven, that came an hour late."""
    return reading(offset, "t9", code, value, device_id="MON-3", event_time=at(60 * minute - 3600))


def alert(offset: int, appended: float, **columns: Any) -> dict[str, Any]:
    known = {"alert_id": f"a{offset}", "rule": "news2", "rule_version": "1", "severity": "warning", "level": 1}
    told = {"subject_token": "t1", "episode_start": at(0), "reasons": ["x"], "missing": [], "late": False}
    times = {
        "device_time": at(0),
        "appended_at": at(0),
        "processed_at": at(0),
        "alerted_at": at(0),
        "effective_at": at(0),
    }
    source = {"source_topic_id": "topic", "source_partition": 0, "source_offset": 0, "expires_at": at(900)}
    return positioned(offset, appended, **{**known, **told, **times, **source, **columns})


def state(offset: int, run: str, kind: str, happened: float) -> dict[str, Any]:
    named = {"event_id": f"{run}:{kind}", "event_type": kind, "run_id": run, "job": "lake/vitals_by_minute"}
    told = {"job_namespace": "wardstream", "producer": "urn:x", "inputs": ["vitals"], "outputs": ["vitals_by_minute"]}
    return positioned(offset, happened, event_time=at(happened), **named, **told)


def hour(token: str, minutes: int, mean: float) -> dict[str, Any]:
    named = {"subject_token": token, "ward": "ICU-1", "code": "8867-4", "unit": "/min", "hour": NOON}
    told = {"mean": mean, "median": mean, "minimum": 60.0, "maximum": 110.0, "deviation": 8.5}
    return {**named, "samples": 12 * minutes, "minutes": minutes, **told}


def stay(stay_id: str, state: str, discharged_at: datetime | None) -> dict[str, Any]:
    named = {"subject_token": f"t{stay_id[-1]}", "stay_id": stay_id, "state": state, "ward": "ICU-1"}
    times = {"opened_at": NOON, "admitted_at": NOON, "discharged_at": discharged_at, "last_event_at": at(60)}
    return {**named, **times, "movements": 1, "events": 2, "unmatched_cancels": 0}


def device_day(device_id: str, clock_flag: str | None, offset_s: float) -> dict[str, Any]:
    named = {"device_id": device_id, "table_name": "vitals", "day": DAY, "ward": "ICU-1", "clock_flag": clock_flag}
    counts = {"readings": 100, "flagged": 1, "without_patient": 0, "codes": 1, "gaps": 0}
    lags = {"median_lag_s": -offset_s, "least_lag_s": -offset_s, "clock_offset_s": offset_s, "longest_gap_s": 5.0}
    return {**named, **counts, **lags, "first_at": NOON, "last_at": at(500)}


def acted(receipt: str, act: str, day: int, until: datetime | None) -> dict[str, Any]:
    """A day of retention's."""
    return {"receipt": receipt, "act": act, "table_name": "vitals", "day": date(2026, 1, day), "rows": 10, "bytes": 100,
            "files": 1, "retention_class": "clinical_signals", "reason": "it is old", "remains": "nothing",
            "undo_until": until, "acted_by": "test", "acted_at": NOON}  # fmt: skip


def held(hold: str, act: str, second: float) -> dict[str, Any]:
    """A hold, placed or lifted."""
    return {"hold": hold, "act": act, "table_name": "*", "first_day": date(2026, 1, 1), "last_day": None,
            "reason": "the court asks", "who": "m.meyer", "at": at(second)}  # fmt: skip


def verdict(minute: int, passed: bool, failed: list[str]) -> dict[str, Any]:
    counted = {"snapshot_id": 7, "offset_vector": "{}", "expectations": 9, "rows": 4, "suite_version": "1"}
    judged = {"table_name": "vitals", "day": date(2026, 11, 22), "evaluated_at": at(60 * minute)}
    return {**counted, **judged, "passed": passed, "failed": failed}


def asked_to_erase(request: str, state: str, second: float, batch: str = "") -> dict[str, Any]:
    return {"request_id": request, "state": state, "subject_mark": "m", "sealed_subject": b"s", "category": None,
            "batch": batch, "reason": "asked", "requested_at": at(0), "requested_by": "desk", "at": at(second),
            "acted_by": "m.meyer"}  # fmt: skip


def erased(store: str, second: float, left: int, size: int) -> dict[str, Any]:
    return {"batch": "b1", "request_id": "", "store": store, "step": "deleted", "found": 9, "left_over": left,
            "bytes": size, "evidence": "{}", "at": at(second), "acted_by": "m.meyer"}  # fmt: skip


def role(version: str, second: float) -> dict[str, Any]:
    return {"act": "promoted", "name": "sepsis", "version": version, "role": "champion", "in_force_at": at(second),
            "reason": "better", "evidence": "{}", "approved_by": "m.meyer", "decided_at": at(second)}  # fmt: skip


def export(name: str, act: str, second: float, request: str = "") -> dict[str, Any]:
    return {"export_id": name, "act": act, "at": at(second), "acted_by": "analyst", "request_id": request,
            "recipient": "study-12", "purpose": "research", "host": "node-1", "path": "/srv/readings.parquet",
            "sha256": "9f", "size_bytes": 1_000, "rows": 12, "snapshots": "{}", "people": b"", "named": True,
            "reason": ""}  # fmt: skip


def watched(made: float, stays: int, values: list[float], changes: int) -> dict[str, Any]:
    return {"monitor": "scores", "version": "v1", "seen_until": at(made), "stays": stays, "values": values,
            "changes": changes, "mean": sum(values) / len(values), "made_at": at(made)}  # fmt: skip


def shadowed(token: str, hour: int, risk: float, told: float) -> dict[str, Any]:
    return {"subject_token": token, "hour_start": at(3_600 * hour), "hour_of_stay": hour + 1, "model_version": "v2",
            "score": risk, "risk": risk, "is_alerting": risk >= 0.5, "told_version": "v1", "told_score": told,
            "told_risk": told, "told_alerting": told >= 0.5, "told_again": True, "scored_at": at(90_000)}  # fmt: skip


def studied(token: str, readings: int) -> dict[str, Any]:
    return {"subject_token": token, "day": NOON.replace(hour=0), "readings": readings, "hours": 2, "codes": 3,
            "first_at": at(0), "last_at": at(60), "consented_at": at(-60), "asked_at": at(90)}  # fmt: skip


ROWS: dict[str, list[dict[str, Any]]] = {
    "vitals": [
        reading(0, "t1", "8867-4", 80.0),
        reading(1, "t1", "8867-4", 90.0),
        reading(2, "t1", "8867-4", 999.0, quality_flag="out_of_range"),
        reading(9, None, "8867-4", 70.0, device_id="MON-2", event_time=at(3601)),
        *(morning(20 + n, "8478-0", value, minute) for n, (value, minute) in enumerate(PRESSURES)),
        *(morning(30 + n, "59408-5", value, minute) for n, (value, minute) in enumerate(SATURATIONS)),
    ],
    "wearables": [
        *(wearable(n, "99504-3", mg, 300 * n) for n, mg in enumerate([50.0, 65.0, 100.0, 300.0])),
        wearable(4, "29463-7", 80.0, 0, device_id="SCALE-1", unknown_fields=b"sealed"),
        wearable(5, "29463-7", 82.5, 86_400, device_id="SCALE-1"),
        wave(6, 0), wave(7, 1), wave(8, 5),
        wearable(9, "8867-4", 60.0, 90_000, device_id="BAND-1", kafka_time=at(89_900), subject_token="t3"),
        wearable(10, "8867-4", 60.0, 90_010, device_id="BAND-1", kafka_time=at(89_910)),
    ],
    "labs": [
        result(0, "L-1", "2524-7", 3.0, "P", 600), result(1, "L-1", "2524-7", 4.0, "F", 1200),
        result(2, "L-1", "2524-7", 2.5, "C", 4800), result(3, "L-2", "2160-0", 1.9, "F", 1800),
        result(4, "L-3", "777-3", 90.0, "F", 1800), result(5, "L-3", "777-3", None, "X", 5400),
    ],
    "adt_events": [
        movement(0, "S1", "A01", "ER", 0, bed="1"), movement(1, "S1", "A02", "ICU-1", 3600, bed="7"),
        movement(2, "S2", "A01", "ICU-1", 60), movement(3, "S2", "A03", None, 1800),
        movement(4, "S3", "A01", "ICU-1", 90), movement(5, "S3", "A11", None, 95),
    ],
    "medication_events": [
        drug(0, "M-1", "ordered", 0), drug(1, "M-1", "administered", 600), drug(2, "M-1", "administered", 900, 10.0),
        drug(3, "M-2", "ordered", 1200), drug(4, "M-3", "ordered", 0), drug(5, "M-3", "stopped", 60),
    ],
    "alerts": [alert(0, 0.010), alert(1, 0.030), alert(2, 5.0, late=True)],
    "alerts_withheld": [alert(0, 1, withheld_because="cool_down"), alert(1, 1, withheld_because="expired")],
    "rejects": [
        positioned(3, 3, stream="device.vitals", stage="decode", reason="malformed_json", size_bytes=10,
                   sealed_payload=b"x", sealed_under="person", subject_token="t1"),
        positioned(4, 4, stream="device.vitals", stage="decode", reason="malformed_json", size_bytes=5,
                   sealed_payload=b"x", sealed_under="day:2026-11-22"),
    ],
    "duplicates": [positioned(8, 8, stream="device.vitals", event_id="e1", first_offset=1)],
    "lineage_events": [state(0, "a", "START", 0), state(1, "a", "COMPLETE", 12), state(2, "b", "FAIL", 20)],
    "quality_results": [verdict(1, True, []), verdict(2, False, ["expect_x"])],
    "retention_receipts": [
        acted("r1", "cooled", 30, until=at(3_600)), acted("r1", "cooled", 31, until=at(3_600)),
        acted("r2", "removed", 1, until=at(86_400)), acted("r3", "removed", 2, until=None),
    ],
    "erasure_requests": [
        asked_to_erase("e1", "received", 0), asked_to_erase("e1", "deleted", 60, batch="b1"),
        asked_to_erase("e2", "received", 120),
    ],
    "erasure_receipts": [erased("vitals", 30, 7, 700), erased("alerts", 40, 0, 50)],
    "models": [
        {"version": "v1", "name": "sepsis", "artefacts": "a", "learnt_from": "lake", "learnt_stays": 900,
         "source": "lake", "snapshots": "{}", "code": "c", "parameters": "{}", "metrics": "{}", "registered_at": at(0),
         "registered_by": "m.meyer"},
    ],
    "model_roles": [role("v1", 0), role("v2", 60), role("v3", 90_000)],
    "drift_reports": [
        {"look": "l1", "version": "v1", "kind": "unit", "place": "ICU-1", "items": ["creatinine"], "share": 0.1,
         "because": "ratio 88.4", "remedy": "mend the unit", "retrains": False, "stays": 300, "tests": 40,
         "made_at": at(60)},
    ],
    "drift_profiles": [
        {"version": "v1", "scope": "all", "item": "creatinine", "stays": 700, "of_stays": 900, "quantiles": [0.5],
         "measured_mean": 0.1, "measured_sd": 0.1, "stuck": [0.0], "stuck_stays": 700, "made_at": at(0)},
    ],
    "drift_monitors": [watched(60, 3, [0.1, 0.2, 0.3], 0), watched(120, 5, [0.4, 0.6], 1)],
    "exports": [
        export("x1", "made", 0), export("x2", "made", 60), export("x3", "made", 90),
        export("x2", "asked", 120, "e1"), export("x3", "asked", 120, "e1"), export("x3", "confirmed", 180, "e1"),
    ],
    "shadow_scores": [shadowed("t1", 0, 0.75, 0.25), shadowed("t1", 1, 0.75, 0.75), shadowed("t2", 0, 0.25, 0.5)],
    "research_cohort": [studied("t1", 10), studied("t2", 5)],
    "retention_holds": [
        held("h1", "placed", 0), held("h2", "placed", 60), held("h1", "lifted", 120),
    ],
    "vitals_by_minute": [
        {"subject_token": "t1", "ward": "ICU-1", "code": "8867-4", "unit": "/min", "minute": NOON, "samples": 2,
         "mean": 85.0, "minimum": 80.0, "maximum": 90.0, "first": 80.0, "last": 90.0},
    ],
    "vitals_by_hour": [hour("t1", 60, 85.0), hour("t2", 10, 70.0)],
    "ward_summary": [
        {"ward": "ICU-1", "hour": NOON, "patients": 2, "devices": 2, "readings": 200, "flagged": 10,
         "without_patient": 0, "alerts": 3, "alerts_highest": 1},
    ],
    "stays": [stay("S1", "admitted", None), stay("S2", "discharged", at(7_200)), stay("S3", "cancelled", None)],
    "stay_movements": [
        {"subject_token": "t1", "stay_id": "S1", "movement": 1, "ward": "ER", "started_at": NOON, "ended_at": at(3600)},
        {"subject_token": "t1", "stay_id": "S1", "movement": 2, "ward": "ICU-1", "started_at": at(3600)},
    ],
    "lab_results": [
        standing("L-1", "2524-7", "C", 2.5, 4800, released_at=at(1200), released_value=4.0),
        standing("L-2", "2160-0", "F", 1.9, 1800, released_at=at(1800), released_value=1.9),
        standing("L-3", "777-3", "X", None, 5400, released_at=at(1800)),
        standing("L-4", "718-7", "C", 9.0, 5400),
    ],
    "device_health": [device_day("MON-1", None, 0.1), device_day("MON-2", "ahead", 30.0)],
    "population_by_day": [
        {"day": DAY, "age_band": "70-79", "sex": "F", "patients": 4, "stays": 4, "admissions": 2, "discharges": 1,
         "monitored": 4, "alerted": 1, "alerts": 3},
    ],
    "sensor_faults": [
        {"table_name": "vitals", "topic_id": "topic", "kafka_partition": 0, "kafka_offset": offset, "fault": "stuck",
         "event_time": at(offset), "subject_token": "t1", "device_id": "MON-1", "code": "8867-4"} for offset in (0, 1)
    ],
}  # fmt: skip
