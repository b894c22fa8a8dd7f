"""Sepsis scores on the real stack: told on their topic and table, equal to offline, alerting, retracted, recalled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from confluent_kafka import Producer

from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.panel import MALE, MEDICAL, Panel
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.variables import INDEX, VARIABLES
from tests.deployment import Deployment
from warehouse.analytics import Analytics
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end
HOURS = 30
ILL, WELL = "P900001", "P900002"
_COURSE = {
    "HR": (80, 135), "O2Sat": (97, 89), "Temp": (37.0, 39.4), "SBP": (125, 78), "MAP": (88, 52), "DBP": (70, 38),
    "Resp": (15, 33), "Lactate": (1.1, 6.0), "WBC": (8.0, 24.0), "Creatinine": (0.9, 3.2), "Platelets": (240.0, 70.0),
    "BUN": (15.0, 60.0), "Bilirubin_total": (0.7, 4.2), "FiO2": (0.21, 0.6), "pH": (7.4, 7.2),
}  # fmt: skip
"""Of each variable the value well, and the value gravely ill."""


def _value(name: str, patient: str, hour: int) -> float:
    well, ill = _COURSE[name]
    part = min(1.0, max(0.0, (hour - 6) / 12)) if patient == ILL else 0.0
    return round(well + (ill - well) * part, 2)


def _measured(name: str, hour: int) -> bool:
    return VARIABLES[INDEX[name]].kind == "vital" or hour % 4 == 1


def _start() -> datetime:
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=HOURS)


def _story(start: datetime) -> list[tuple[str, dict[str, object]]]:
    """Topic and message, hour by hour: both patients are admitted, one falls ill of sepsis."""
    told: list[tuple[str, dict[str, object]]] = []
    for patient in (ILL, WELL):
        told.append(
            (
                "adt.events",
                {
                    "event_id": f"a-{patient}", "patient_id": patient, "stay_id": f"S-{patient[-1]}", "type": "A01",
                    "ward": "MICU-1", "bed": "01", "event_time": _iso(start), "recorded_at": _iso(start),
                    "birth_date": "1950-05-05", "sex": "M", "identifiers": [], "name": {"family": "X", "given": "Y"},
                },
            )
        )  # fmt: skip
    for hour in range(HOURS):
        for patient in (ILL, WELL):
            for name in _COURSE:
                if _measured(name, hour):
                    told.append(_message(name, patient, hour, start, _value(name, patient, hour)))
    return told


def _message(
    name: str, patient: str, hour: int, start: datetime, value: float, **said: object
) -> tuple[str, dict[str, object]]:
    variable, at = VARIABLES[INDEX[name]], _iso(start + timedelta(hours=hour, minutes=10))
    whole = {
        "event_id": f"{patient}-{name}-{hour}", "patient_id": patient, "code": variable.codes[0], "value": value,
        "unit": variable.given_in,
    }  # fmt: skip
    if variable.kind == "vital":
        return "device.vitals", whole | {"device_id": "MON-1", "ward": "MICU-1", "seq": hour, "event_time": at}
    result = {"order_id": f"o-{patient}-{name}-{hour}", "status": "F", "collected_at": at, "reported_at": at}
    return "lab.results", whole | result | said


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _send(settings: Settings, told: list[tuple[str, dict[str, object]]]) -> None:
    producer = Producer(settings.kafka(partitioner="murmur2_random"))
    for stream, message in told:
        producer.produce(settings.topic(stream), key=str(message["patient_id"]), value=json.dumps(message))
    assert producer.flush(30) == 0


def _offline(patient: str, start: datetime) -> np.ndarray:
    values = np.full((HOURS, len(VARIABLES)), np.nan, np.float32)
    for hour in range(HOURS):
        for name in _COURSE:
            if _measured(name, hour):
                values[hour, INDEX[name]] = _value(name, patient, hour) * VARIABLES[INDEX[name]].factor
    whole = np.ones(HOURS, np.float32)
    panel = Panel(
        values, np.array([0, HOURS]), np.arange(1, HOURS + 1), whole * (start.year - 1950), whole * MALE, whole * 0,
        whole * MEDICAL,
    )  # fmt: skip
    return OnnxModel(champion()).scores(features(panel))


def _asked(settings: Settings, question: str) -> pa.Table:
    with Analytics(settings) as analytics:
        return analytics.query(question).table


def test_scores_are_told_equal_offline_alert_are_explained_and_recalled(settings: Settings) -> None:
    start, model = _start(), OnnxModel(champion())
    story = _story(start)
    cut = len(story) * 2 // 3
    with Deployment(settings) as deployment:
        _send(settings, story[:cut])
        deployment.run_stream_to_the_end()
        # A second process: what it tells rests on what it recalls of the first.
        _send(settings, story[cut:])
        deployment.run_stream_to_the_end()
        of_first = _asked(settings, "SELECT count(*) AS n FROM scores")["n"][0].as_py()
        deployment.run_stream_to_the_end()
    assert of_first
    current = _asked(
        settings,
        "SELECT subject_token, hour_of_stay, score, risk, model, model_version, is_alerting, missing, reasons "
        "FROM scores_current ORDER BY subject_token, hour_of_stay",
    )
    by_patient = {}
    for row in current.to_pylist():
        by_patient.setdefault(row["subject_token"], []).append(row)
    scored = sorted([float(row["score"]) for row in rows] for rows in by_patient.values())
    assert scored == sorted(_offline(patient, start).astype(float).tolist() for patient in (ILL, WELL))
    assert {(row["model"], row["model_version"]) for row in current.to_pylist()} == {(model.name, model.version)}
    alerting = [row for row in current.to_pylist() if row["is_alerting"]]
    assert alerting
    assert all(row["reasons"] for row in alerting)
    assert all("fibrinogen" in row["missing"] for row in current.to_pylist())
    alerts = _asked(
        settings,
        "SELECT subject_token, alert_id, model, score, reasons, retracts FROM alerts WHERE rule = 'sepsis' "
        "ORDER BY episode_start",
    ).to_pylist()
    assert alerts
    assert {alert["model"] for alert in alerts} == {f"{model.name}@{model.version}"}
    assert len({alert["alert_id"] for alert in alerts}) == len(alerts)
