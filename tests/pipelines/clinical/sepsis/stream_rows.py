"""Rows of the streams as the sepsis history takes them, made by hand in the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa

START = datetime(2026, 11, 20, 6, tzinfo=UTC)
_US = pa.timestamp("us", "UTC")


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def reading(
    token: str, code: str, value: float | None, hours: float, flag: str | None = None, offset: int = 0
) -> dict[str, object]:
    return {
        "subject_token": token,
        "patient_id": f"P-{token}",
        "ward": "ICU-1",
        "code": code,
        "numeric_value": value,
        "text_value": None,
        "quality_flag": flag,
        "event_time": at(hours),
        "received_at": None,
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_time": at(1_000),
    }


def result(
    token: str,
    order: str,
    code: str,
    value: float | None,
    collected: float,
    reported: float | None = None,
    status: str = "F",
    event: str = "e0",
    flag: str | None = None,
    offset: int = 0,
) -> dict[str, object]:
    return {
        "event_id": event,
        "subject_token": token,
        "patient_id": f"P-{token}",
        "order_id": order,
        "code": code,
        "numeric_value": value,
        "status": status,
        "collected_at": at(collected),
        "reported_at": at(collected if reported is None else reported),
        "quality_flag": flag,
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_time": at(1_000),
    }


def admission(
    token: str,
    kind: str,
    hours: float,
    ward: str | None,
    event: str,
    birth_year: int | None = 1950,
    sex: str | None = "F",
    stay: str = "S1",
    recorded: float | None = None,
) -> dict[str, object]:
    return {
        "event_id": event,
        "subject_token": token,
        "patient_id": f"P-{token}",
        "stay_id": stay,
        "type": kind,
        "ward": ward,
        "bed": "01",
        "event_time": at(hours),
        "recorded_at": None if recorded is None else at(recorded),
        "birth_year": birth_year,
        "sex": sex,
        "kafka_partition": 0,
        "kafka_offset": 0,
        "kafka_time": at(1_000),
    }


_TYPES = {
    "numeric_value": pa.float64(),
    "birth_year": pa.int32(),
    "kafka_partition": pa.int32(),
    "kafka_offset": pa.int64(),
} | dict.fromkeys(("event_time", "received_at", "kafka_time", "collected_at", "reported_at", "recorded_at"), _US)


def table(rows: list[dict[str, object]], like: dict[str, object] | None = None) -> pa.Table:
    """The rows as a table, with the columns of `like` where there is none."""
    names = (rows[0] if rows else like or {}).keys()
    schema = pa.schema([(name, _TYPES.get(name, pa.string())) for name in names])
    return pa.Table.from_pylist(rows, schema=schema)
