"""What a restart knows of the streams beside `device.vitals`, for the monitor that is to go on.

Holds: `Remembered`, and the order in which its rows are gone through again.
Does not hold: the questions asked of the lake (`warehouse/history.py`), nor what the monitor makes of the answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipelines.clinical.readings import milliseconds


def _no_rows(*columns: tuple[str, pa.DataType]) -> pa.Table:
    return pa.table({name: pa.array([], kind) for name, kind in columns})


_MOMENT = pa.timestamp("us", "UTC")
_NO_RESULTS = _no_rows(
    ("subject_token", pa.string()), ("event_id", pa.string()), ("order_id", pa.string()), ("code", pa.string()),
    ("numeric_value", pa.float64()), ("status", pa.string()), ("quality_flag", pa.string()), ("collected_at", _MOMENT),
    ("reported_at", _MOMENT), ("kafka_time", _MOMENT),
)  # fmt: skip
_NO_SAMPLES = _no_rows(
    ("subject_token", pa.string()), ("code", pa.string()), ("numeric_value", pa.float64()),
    ("quality_flag", pa.string()), ("event_time", _MOMENT), ("kafka_time", _MOMENT),
)  # fmt: skip
_NO_MEDICATION = _no_rows(
    ("subject_token", pa.string()), ("code", pa.string()), ("action", pa.string()), ("dose", pa.float64()),
    ("unit", pa.string()), ("event_time", _MOMENT), ("kafka_time", _MOMENT),
)  # fmt: skip
_NO_WINDOWS = _no_rows(("subject_token", pa.string()), ("window", pa.int64()))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a restart knows of the streams beside `device.vitals`; all below the position to go on from.

    Attributes:
        results: rows of `labs`, each partition in offset order: every version of the orders of each subject and analyte
            whose specimens are newest (`results.KEPT`), and of those with an alert in the past all of `lookback`.
        samples: rows of `wearables` with a glucose: of each subject all from `lookback` and `glucose.LOOKBACK` before
            the newest.
        medication: rows of `medication_events`: of each subject and vasopressor the newest.
        windows: of each subject the windows of five minutes of the last `shock_trend.LOOKBACK` before the newest:
            `subject_token`, `window` (effective milliseconds // `shock_trend.WINDOW_MS`), number, sum and sum of
            squares of the heart rate (`rates`, `rate_sum`, `rate_squares`), number and sum of the mean pressure
            (`pressures`, `pressure_sum`), whole tenths.
    """

    results: pa.Table = field(default_factory=lambda: _NO_RESULTS)
    samples: pa.Table = field(default_factory=lambda: _NO_SAMPLES)
    medication: pa.Table = field(default_factory=lambda: _NO_MEDICATION)
    windows: pa.Table = field(default_factory=lambda: _NO_WINDOWS)


def in_turn(
    readings: tuple[str, pa.Table], results: tuple[str, pa.Table], cuts: np.ndarray
) -> Iterator[tuple[str, pa.Table]]:
    """Both in the order of appending, as far as `cuts` (milliseconds) ask for it: readings before a cut, then results
    up to it."""
    segments = [
        np.searchsorted(cuts, milliseconds(rows["kafka_time"]) if len(rows) else np.empty(0, np.int64), side=side)
        for (_, rows), side in ((readings, "right"), (results, "left"))
    ]
    for nth in range(len(cuts) + 1):
        for (stream, rows), segment in zip((readings, results), segments, strict=True):
            yield stream, rows.filter(pa.array(segment == nth))
