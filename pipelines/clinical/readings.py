"""Rows of `device.vitals` as plain columns of numbers: what the rules compute with.

Holds: the way from Arrow to numpy, which rows can be scored at all, and the time a reading counts from.
Does not hold: state, order in time, or any limit.

**The effective time of a reading is its event time, but never later than the broker's append time of its message**
(decision 9). It is the only time that rules know: which reading is the newest of its signal, a patient's clock, ages,
episodes and cool-downs are reckoned in it, here, in the questions of a restart (`warehouse/history.py`) and in the
oracle. The row keeps its event time. So a device whose clock is ahead cannot push a patient's clock past the present,
and make late what others then say truly; at worst, a reading that comes while another of the same signal is on its way
makes that one late. A device whose clock is behind is not mended: its readings are as old as they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.clinical.signals import INDEX, SIGNALS
from warehouse.vocabulary import SUPPLEMENTAL_OXYGEN

_OXYGEN = INDEX[SUPPLEMENTAL_OXYGEN]
_WORDS = [dict(signal.words) for signal in SIGNALS]


@dataclass(frozen=True, slots=True)
class Readings:
    """n readings that can be scored, in position order.

    Attributes:
        row: int64[n], index in the table they came from.
        subject: int64[n], index in `tokens`.
        tokens: the subject tokens that occur, each once.
        signal: int64[n], index in `SIGNALS`.
        value: float64[n], canonical unit, words as their numbers; never NaN.
        effective_ms: int64[n], effective time in whole milliseconds since 1970 UTC.
    """

    row: np.ndarray
    subject: np.ndarray
    tokens: list[str]
    signal: np.ndarray
    value: np.ndarray
    effective_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


def scorable(rows: pa.Table) -> Readings:
    """The rows that rules may look at.

    Left out: no subject token or (where the column is present) no patient id, as with a reading keyed by its device;
    a quality flag; a code without a rule; no value, or a word the code does not know.

    Args:
        rows: columns `subject_token`, `code`, `numeric_value`, `text_value`, `quality_flag`, `event_time` and
            `kafka_time` (timestamps) and, unless restored from the lake, `patient_id`; strings plain or
            dictionary-encoded.
    """
    subject, tokens = dictionary(rows["subject_token"])
    signal = _signals(rows["code"])
    value = _values(rows, signal)
    keep = (subject >= 0) & (signal >= 0) & ~np.isnan(value) & null(rows["quality_flag"])
    if "patient_id" in rows.column_names:
        keep &= ~null(rows["patient_id"])
    row = np.flatnonzero(keep)
    subject, tokens = occurring(subject[row], tokens)
    return Readings(row, subject, tokens, signal[row], value[row], effective_ms(rows)[row])


def effective_ms(rows: pa.Table) -> np.ndarray:
    """int64[n]: the time each row counts from, whole milliseconds since 1970 UTC; see the head of this file.

    Args:
        rows: columns `event_time` and `kafka_time`, timestamps without nulls.
    """
    return np.minimum(milliseconds(rows["event_time"]), milliseconds(rows["kafka_time"]))


def milliseconds(column: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: a timestamp column without nulls, in whole milliseconds since 1970 UTC.

    Rules and episodes reckon in the resolution of our messages, so that what an alert says of its times is all of it.
    """
    return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy() // 1000


def dictionary(column: pa.ChunkedArray) -> tuple[np.ndarray, pa.Array]:
    """int64[n] index of each value in the returned values, -1 for null."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    encoded = column.combine_chunks()
    indices = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return indices.astype(np.int64), encoded.dictionary


def occurring(indices: np.ndarray, values: pa.Array) -> tuple[np.ndarray, list[str]]:
    """The same column with a dictionary of only those values that occur in it."""
    occurs = np.zeros(len(values), bool)
    occurs[indices] = True
    fresh = np.cumsum(occurs) - 1
    return fresh[indices], values.filter(pa.array(occurs)).to_pylist()


def look_up(column: pa.ChunkedArray, table: Mapping[str, float], absent: float) -> np.ndarray:
    indices, values = dictionary(column)
    numbers = [table.get(value, absent) for value in values.to_pylist()]
    return np.array([*numbers, absent])[indices]


def _signals(codes: pa.ChunkedArray) -> np.ndarray:
    return look_up(codes, INDEX, -1).astype(np.int64)


def _values(rows: pa.Table, signal: np.ndarray) -> np.ndarray:
    """float64: the number, or what the word stands for; any flow of oxygen at all is `oxygen`. NaN = none."""
    value = rows["numeric_value"].to_numpy().astype(np.float64)
    value = np.where((signal == _OXYGEN) & (value > 0), 1.0, value)
    if rows["text_value"].null_count == len(rows):
        return value
    for at, words in enumerate(_WORDS):
        if words and (signal == at).any():
            spoken = look_up(rows["text_value"], words, np.nan)
            value = np.where((signal == at) & np.isnan(value), spoken, value)
    return value


def null(column: pa.ChunkedArray) -> np.ndarray:
    if not column.null_count:
        return np.zeros(len(column), bool)
    return column.is_null().to_numpy()
