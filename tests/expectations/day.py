"""Days of every table in memory, right in every row; tests plant what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from warehouse.contract import load_contracts
from warehouse.tables import arrow_schema
from warehouse.vocabulary import (
    CGM_GLUCOSE,
    CODES,
    CONSCIOUSNESS,
    CREATININE,
    ECG_LEAD_II,
    HEART_RATE,
    LACTATE,
    SPO2,
    SUPPLEMENTAL_OXYGEN,
    TEMPERATURE,
)

DAY = date(2026, 11, 21)
TOPIC_ID = "topic-of-tests"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So long after the day's midnight, UTC."""
    return MIDNIGHT + timedelta(seconds=seconds)


def reading(offset: int, of: str, partition: int = 0, **changed: Any) -> dict[str, Any]:
    """One row: a plausible value of the code `of`, one second of the day an offset."""
    vital, at = CODES[of], MIDNIGHT + timedelta(seconds=offset)
    worded = of == CONSCIOUSNESS
    return {
        "event_id": f"event-{partition}-{offset}",
        "subject_token": f"TOKEN{partition}",
        "device_id": "MON-0001",
        "ward": "ICU-1",
        "code": of,
        "numeric_value": None if worded else (vital.low + vital.high) / 2,  # type: ignore[operator]
        "text_value": "A" if worded else None,
        "unit": vital.unit,
        "event_time": at,
        "received_at": at,
        "seq": offset,
        "quality_flag": None,
        "topic_id": TOPIC_ID,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_time": at + timedelta(seconds=1),
        "ingest_time": at + timedelta(seconds=3),
        **changed,
    }


def good_rows() -> list[dict[str, Any]]:
    """Three rounds of five codes, and one word for oxygen. Few codes: each costs GX time in every test."""
    codes = (HEART_RATE, SPO2, TEMPERATURE, CONSCIOUSNESS, SUPPLEMENTAL_OXYGEN)
    rows = [reading(offset, code) for offset, code in enumerate(codes * 3)]
    return [*rows, reading(len(rows), SUPPLEMENTAL_OXYGEN, numeric_value=None, unit=None, text_value="air")]


def wave(offset: int, **changed: Any) -> dict[str, Any]:
    """A second of ECG."""
    values = [0.01 * n for n in range(125)]
    return reading(offset, ECG_LEAD_II, numeric_value=None, samples=values, period_ms=8.0, **changed)


def wearable(offset: int, **changed: Any) -> dict[str, Any]:
    return reading(offset, CGM_GLUCOSE, device_id="CGM-0001", ward="HOME", **changed)


def positioned(offset: int, partition: int = 0) -> dict[str, Any]:
    """The columns that every row of a topic has."""
    at = MIDNIGHT + timedelta(seconds=offset)
    return {
        "event_id": f"event-{partition}-{offset}",
        "subject_token": f"TOKEN{partition}",
        "topic_id": TOPIC_ID,
        "kafka_partition": partition,
        "kafka_offset": offset,
        "kafka_time": at + timedelta(seconds=1),
        "ingest_time": at + timedelta(seconds=3),
    }


def lab(offset: int, code: str = LACTATE, order: str = "L-1", status: str = "F", **changed: Any) -> dict[str, Any]:
    """A version of a result: plausible, reported an hour after it was taken, a second later an offset."""
    at = MIDNIGHT + timedelta(seconds=60)
    return {
        **positioned(offset),
        "order_id": order,
        "code": code,
        "numeric_value": CODES[code].low + 1.0,  # type: ignore[operator]
        "comparator": None,
        "unit": CODES[code].unit,
        "status": status,
        "collected_at": at,
        "reported_at": at + timedelta(hours=1, seconds=offset),
        "lab": "CENTRAL-LAB",
        "quality_flag": None,
        **changed,
    }


def movement(offset: int, type_: str = "A01", stay: str = "S1", **changed: Any) -> dict[str, Any]:
    at = MIDNIGHT + timedelta(seconds=offset)
    return {
        **positioned(offset),
        "stay_id": stay,
        "type": type_,
        "ward": "ICU-1",
        "bed": "01",
        "event_time": at,
        "recorded_at": at,
        "birth_year": 1950,
        "sex": "F",
        **changed,
    }


def medication(offset: int, action: str = "administered", **changed: Any) -> dict[str, Any]:
    return {
        **positioned(offset),
        "order_id": f"M-{offset}",
        "action": action,
        "code": "7512",
        "dose": 4.0,
        "unit": "mg/h",
        "route": "IV",
        "event_time": MIDNIGHT + timedelta(seconds=offset),
        **changed,
    }


GOOD = {
    "vitals": [*good_rows(), wave(90)],
    "wearables": [wearable(n) for n in range(3)],
    "labs": [*(lab(n, code) for n, code in enumerate((LACTATE, CREATININE))), lab(90, status="C")],
    "adt_events": [movement(0), movement(1, "A02"), movement(2, "A03")],
    "medication_events": [medication(n, action) for n, action in enumerate(("ordered", "administered", "stopped"))],
}
"""A good day of every table that outside streams feed."""


def table(rows: list[dict[str, Any]], name: str = "vitals") -> pa.Table:
    """The rows in the contract's schema; what a row does not name is null."""
    schema = arrow_schema(load_contracts().table(name))
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return pa.Table.from_pylist(rows, schema=nullable)
