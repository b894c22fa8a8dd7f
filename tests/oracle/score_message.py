"""What a raw `clinical.scores` message says, read independently of the product.

Holds: the columns of a score that the checks need. Does not hold: whether the score is right (`score_checks`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from .message import Unreadable, micros

_MOMENT, _WORDS = pa.timestamp("us", "UTC"), pa.list_(pa.string())
TOLD_AS_IT_IS = {
    "score_id": pa.string(),
    "subject_token": pa.string(),
    "ward": pa.string(),
    "model": pa.string(),
    "model_version": pa.string(),
    "hour_of_stay": pa.int32(),
    "score": pa.float64(),
    "risk": pa.float64(),
    "threshold": pa.float64(),
    "is_alerting": pa.bool_(),
    "reasons": _WORDS,
    "missing": _WORDS,
    "contributions": _WORDS,
    "alert_id": pa.string(),
    "revision": pa.int32(),
}
TIMES = ("hour_start", "effective_at", "scored_at")
SCORE_SCHEMA = pa.schema(
    [
        ("fault", pa.string()),
        *TOLD_AS_IT_IS.items(),
        ("patient_id", pa.string()),
        *((column, _MOMENT) for column in TIMES),
        ("source_topic_id", pa.string()),
        ("source_partition", pa.int32()),
        ("source_offset", pa.int64()),
    ]
)


def read_scores(keys: Sequence[bytes | None], values: Sequence[bytes | None], appended_us: np.ndarray) -> pa.Table:
    """One row of `SCORE_SCHEMA` a message, in order; where `fault` is not null nothing else is known of it."""
    return pa.Table.from_pylist([_score(value) for value in values], schema=SCORE_SCHEMA)


def _score(value: bytes | None) -> dict:
    try:
        score = json.loads(value or b"")
        source = score["source"]
        return {
            **{name: score[name] for name in TOLD_AS_IT_IS},
            **{column: micros(score[column]) for column in TIMES},
            "patient_id": score["patient_id"],
            "source_topic_id": source["topic_id"],
            "source_partition": source["partition"],
            "source_offset": source["offset"],
        }
    except (ValueError, KeyError, TypeError, Unreadable) as error:
        return {"fault": type(error).__name__}
