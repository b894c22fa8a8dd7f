"""A day of vitals in memory, right in every row; tests plant what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from warehouse.contract import load_contracts
from warehouse.tables import arrow_schema
from warehouse.vocabulary import CODES, CONSCIOUSNESS, SUPPLEMENTAL_OXYGEN

DAY = date(2026, 11, 21)
TOPIC_ID = "topic-of-tests"
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)


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
    """Three rounds of every code, and one word for oxygen."""
    rows = [reading(offset, code) for offset, code in enumerate(list(CODES) * 3)]
    return [*rows, reading(len(rows), SUPPLEMENTAL_OXYGEN, numeric_value=None, unit=None, text_value="air")]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows in the contract's schema."""
    schema = arrow_schema(load_contracts().table("vitals"))
    nullable = pa.schema([field.with_nullable(True) for field in schema])
    return pa.Table.from_pylist(rows, schema=nullable)
