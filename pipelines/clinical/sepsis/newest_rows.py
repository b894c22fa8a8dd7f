"""Of each patient the newest row: who it says the patient is and where it lies on Kafka.

Holds: `NewestRows`, columns over patients, so that a batch is noted at once and no object is made for a row.
Does not hold: when a patient is scored (`stream_score.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.clinical.readings import milliseconds

_UNKNOWN_MS = -1
_PATIENT, _WARD, _STREAM = range(3)


@dataclass(frozen=True, slots=True)
class NewestRow:
    """One patient's; milliseconds since 1970 UTC."""

    patient_id: str
    ward: str | None
    stream: str
    partition: int
    offset: int
    appended_ms: int
    device_ms: int
    received_ms: int | None


class NewestRows:
    """By slot. Not thread-safe."""

    def __init__(self) -> None:
        self._words = np.full((3, 0), None, object)
        self._numbers = np.zeros((5, 0), np.int64)

    def fit(self, capacity: int) -> None:
        """Room for so many patients."""
        more = capacity - self._words.shape[1]
        if more > 0:
            self._words = np.hstack([self._words, np.full((3, more), None, object)])
            self._numbers = np.hstack([self._numbers, np.zeros((5, more), np.int64)])

    def note(self, stream: str, moment: str, rows: pa.Table, slot: np.ndarray) -> np.ndarray:
        """Take the last row of each patient in the batch; int64[k], their slots.

        Args:
            moment: the column that says when it was measured.
            slot: int64[n], each row's patient; below 0: nobody's.
        """
        said = np.flatnonzero(slot >= 0)
        slots, back = np.unique(slot[said][::-1], return_index=True)
        names = ["patient_id", "ward", "kafka_partition", "kafka_offset", "kafka_time", moment, "received_at"]
        there = [name for name in names if name in rows.column_names]
        last = rows.select(there).take(pa.array(said[len(said) - 1 - back]))
        self._words[_PATIENT, slots] = _texts(last["patient_id"])
        self._words[_STREAM, slots] = stream
        if "ward" in there:  # a row that names none leaves the patient where it was
            wards = _texts(last["ward"])
            told = np.array([ward is not None for ward in wards], bool)
            self._words[_WARD, slots[told]] = wards[told]
        times = ("kafka_time", moment)
        self._numbers[:4, slots] = [
            *(last[name].to_numpy() for name in ("kafka_partition", "kafka_offset")),
            *(milliseconds(last[name]) for name in times),
        ]
        self._numbers[4, slots] = _received_ms(last["received_at"]) if "received_at" in there else _UNKNOWN_MS
        return slots

    def appended_ms(self, slots: np.ndarray) -> np.ndarray:
        """int64[k]: when their rows were appended."""
        return self._numbers[2, slots]

    def stream(self, slot: int) -> str:
        """The stream of a patient's row."""
        return self._words[_STREAM, slot]

    def of(self, slot: int) -> NewestRow:
        """A patient's row."""
        partition, offset, appended_ms, device_ms, received_ms = self._numbers[:, slot].tolist()
        patient_id, ward, stream = self._words[:, slot]
        received = None if received_ms == _UNKNOWN_MS else received_ms
        return NewestRow(patient_id, ward, stream, partition, offset, appended_ms, device_ms, received)

    def forget(self, slot: int) -> None:
        """Nothing is remembered of this patient any more."""
        self._words[:, slot], self._numbers[:, slot] = None, 0


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """object[k], None where it is null. Decoded by Arrow: a word at a time it takes six times as long."""
    return np.array(column.cast(pa.string()).to_pylist(), object)


def _received_ms(column: pa.ChunkedArray) -> np.ndarray:
    microseconds = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).fill_null(_UNKNOWN_MS * 1000)
    return microseconds.to_numpy() // 1000
