"""What a raw `clinical.alerts` message says, read independently of the product.

Holds: the columns of an alert that the checks need.
Does not hold: whether the alert is right (`alerts`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from .message import Unreadable, micros

_MOMENT, _WORDS = pa.timestamp("us", "UTC"), pa.list_(pa.string())
TOLD_AS_IT_IS = {
    "alert_id": pa.string(),
    "rule": pa.string(),
    "rule_version": pa.string(),
    "model": pa.string(),
    "severity": pa.string(),
    "level": pa.int32(),
    "subject_token": pa.string(),
    "ward": pa.string(),
    "bed": pa.string(),
    "code": pa.string(),
    "value": pa.float64(),
    "score": pa.float64(),
    "score_is_lower_bound": pa.bool_(),
    "reasons": _WORDS,
    "missing": _WORDS,
    "evidence": _WORDS,
    "late": pa.bool_(),
    "retracts": pa.string(),
}
TIMES = {
    "device_time": "device",
    "received_at": "received",
    "appended_at": "appended",
    "effective_at": "effective",
    "processed_at": "processed",
    "alerted_at": "alerted",
}
"""column -> name within the message's `times`"""

ALERT_SCHEMA = pa.schema(
    [
        ("fault", pa.string()),
        *TOLD_AS_IT_IS.items(),
        ("patient_id", pa.string()),
        ("told_birth_year", pa.int32()),
        ("episode_start", _MOMENT),
        *((column, _MOMENT) for column in TIMES),
        ("expires_at", _MOMENT),
        ("withheld_because", pa.string()),
        ("source_topic_id", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
    ]
)


def read_alerts(keys: Sequence[bytes | None], values: Sequence[bytes | None], appended_us: np.ndarray) -> pa.Table:
    """One row of `ALERT_SCHEMA` a message, in order; where `fault` is not null nothing else is known of it."""
    return pa.Table.from_pylist([_alert(value) for value in values], schema=ALERT_SCHEMA)


def _alert(value: bytes | None) -> dict:
    try:
        alert = json.loads(value or b"")
        source = alert["source"]
        return {
            **{name: alert[name] for name in TOLD_AS_IT_IS},
            **{column: _moment(alert["times"][name]) for column, name in TIMES.items()},
            "patient_id": alert["patient"]["patient_id"],
            "told_birth_year": _year(alert["patient"]["birth_date"]),
            "episode_start": micros(alert["episode_start"]),
            "expires_at": micros(alert["expires_at"]),
            "withheld_because": alert.get("withheld_because"),
            "source_topic_id": source["topic_id"],
            "source_partition": source["partition"],
            "source_offset": source["offset"],
        }
    except (ValueError, KeyError, TypeError, Unreadable) as error:
        return {"fault": type(error).__name__}


def _year(text: str | None) -> int | None:
    return None if text is None else date.fromisoformat(text).year


def _moment(text: str | None) -> int | None:
    return None if text is None else micros(text)
