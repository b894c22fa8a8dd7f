"""What a raw `clinical.alerts` message says, read independently of the product.

Holds: the columns of an alert that the checks need.
Does not hold: whether the alert is right (`alerts`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .reading import Unreadable, micros

ALERT_SCHEMA = pa.schema(
    [
        ("fault", pa.string()),
        ("alert_id", pa.string()),
        ("rule", pa.string()),
        ("rule_version", pa.string()),
        ("severity", pa.string()),
        ("level", pa.int32()),
        ("patient_id", pa.string()),
        ("subject_token", pa.string()),
        ("episode_start", pa.timestamp("us", "UTC")),
        ("expires_at", pa.timestamp("us", "UTC")),
        ("processed", pa.timestamp("us", "UTC")),
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
            **{
                name: alert[name] for name in ("alert_id", "rule", "rule_version", "severity", "level", "subject_token")
            },
            "patient_id": alert["patient"]["patient_id"],
            "episode_start": micros(alert["episode_start"]),
            "expires_at": micros(alert["expires_at"]),
            "processed": micros(alert["times"]["processed"]),
            "withheld_because": alert.get("withheld_because"),
            "source_topic_id": source["topic_id"],
            "source_partition": source["partition"],
            "source_offset": source["offset"],
        }
    except (ValueError, KeyError, TypeError, Unreadable) as error:
        return {"fault": type(error).__name__}
