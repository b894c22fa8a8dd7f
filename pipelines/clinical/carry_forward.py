"""What is known of each subject now: the newest reading of every signal, kept while it may still speak for them.

Holds: the columnar state, and the vectorised step that carries it through a batch.
Does not hold: limits, scores or alerts.

In words, for the readings of one subject in position order: a reading older than the newest one of its signal is late
and changes nothing. Any other becomes its signal's newest. The subject's clock is the newest time so far. After each
such reading a signal counts if its newest reading is no older, against that clock, than its carry-forward. All times
are effective times (`readings.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clinical.patients import Register
from pipelines.clinical.readings import Readings
from pipelines.clinical.signals import SIGNALS

NEVER = -(1 << 62)  # milliseconds; far enough back to be stale, not so far that a difference overflows
_CARRY_MS = np.array([int(signal.carry_forward.total_seconds() * 1000) for signal in SIGNALS])[:, None]


@dataclass(frozen=True, slots=True)
class Moments:
    """m moments, each just after a reading that was not late: subject by subject, in position order within one.

    Attributes:
        row: int64[m], index in the table the reading came from.
        slot: int64[m], the subject's place in the state.
        signal, effective_ms: int64[m], the reading's signal and effective time.
        clock_ms: int64[m], the subject's clock.
        values: float64[len(SIGNALS), m], each signal as it counts at that moment; NaN = missing or too old.
        at_ms: int64[len(SIGNALS), m], the effective time of each signal's newest reading.
    """

    row: np.ndarray
    slot: np.ndarray
    signal: np.ndarray
    effective_ms: np.ndarray
    clock_ms: np.ndarray
    values: np.ndarray
    at_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


class NewestReadings:
    """The newest reading of each signal of each subject; memory grows by doubling with the number of subjects."""

    def __init__(self, patients: Register, capacity: int = 1024) -> None:
        self._patients = patients
        self._clock_ms = np.full(capacity, NEVER)
        self._effective_ms = np.full((len(SIGNALS), capacity), NEVER)
        self._value = np.full((len(SIGNALS), capacity), np.nan)

    @property
    def capacity(self) -> int:
        return len(self._clock_ms)

    def advance(self, readings: Readings) -> Moments:
        """Take the readings in and return what was known after each that was not late."""
        slots = self._patients.slots_of(readings.tokens)[readings.subject]
        self._make_room()
        timely = np.flatnonzero(self._timely(slots, readings))
        order = timely[stable_order(slots[timely])]
        slot, signal, effective_ms = slots[order], readings.signal[order], readings.effective_ms[order]
        clock_ms = np.maximum(running_maximum(slot, effective_ms), self._clock_ms[slot])
        value = readings.value[order]
        newest = _newest_rows(slot, signal)
        values, at_ms = self._values(newest, slot, effective_ms, value, clock_ms)
        self._keep(newest, slot, effective_ms, value, clock_ms)
        return Moments(readings.row[order], slot, signal, effective_ms, clock_ms, values, at_ms)

    def clock_ms(self, slots: np.ndarray) -> np.ndarray:
        """int64[n]: the subjects' clocks; `NEVER` for one without a reading."""
        self._make_room()
        return self._clock_ms[slots]

    def as_of(self, slots: np.ndarray, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What counts of these subjects at times not before their clocks: values (float64[len(SIGNALS), n], NaN =
        missing or too old) and the effective time of each (int64)."""
        self._make_room()
        at_ms, values = self._effective_ms[:, slots], self._value[:, slots]
        values[times_ms - at_ms > _CARRY_MS] = np.nan
        return values, at_ms

    def forget(self, slots: np.ndarray) -> None:
        """Nothing is known of these subjects any more."""
        self._make_room()
        self._clock_ms[slots], self._effective_ms[:, slots], self._value[:, slots] = NEVER, NEVER, np.nan

    def _timely(self, slots: np.ndarray, readings: Readings) -> np.ndarray:
        """bool[n]: no reading of the same subject and signal before this one is newer."""
        series = slots * len(SIGNALS) + readings.signal
        order = stable_order(series)
        newest = np.empty_like(readings.effective_ms)
        newest[order] = running_maximum(series[order], readings.effective_ms[order])
        return readings.effective_ms >= np.maximum(newest, self._effective_ms[readings.signal, slots])

    def _values(
        self, newest: np.ndarray, slot: np.ndarray, effective_ms: np.ndarray, value: np.ndarray, clock_ms: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        if not len(slot):
            return np.empty((len(SIGNALS), 0)), np.empty((len(SIGNALS), 0), np.int64)
        here = newest >= 0
        at_ms = np.where(here, effective_ms[newest], self._effective_ms[:, slot])
        values = np.where(here, value[newest], self._value[:, slot])
        values[clock_ms - at_ms > _CARRY_MS] = np.nan
        return values, at_ms

    def _keep(
        self, newest: np.ndarray, slot: np.ndarray, effective_ms: np.ndarray, value: np.ndarray, clock_ms: np.ndarray
    ) -> None:
        """Store the state as the last moment of each subject leaves it."""
        last = np.flatnonzero(np.r_[slot[1:] != slot[:-1], True]) if len(slot) else np.empty(0, np.int64)
        self._clock_ms[slot[last]] = clock_ms[last]
        signals, subjects = np.nonzero(newest[:, last] >= 0)
        rows = newest[signals, last[subjects]]
        self._effective_ms[signals, slot[rows]] = effective_ms[rows]
        self._value[signals, slot[rows]] = value[rows]

    def _make_room(self) -> None:
        while len(self._patients) > self.capacity:
            more = self.capacity
            self._clock_ms = np.pad(self._clock_ms, (0, more), constant_values=NEVER)
            self._effective_ms = np.pad(self._effective_ms, ((0, 0), (0, more)), constant_values=NEVER)
            self._value = np.pad(self._value, ((0, 0), (0, more)), constant_values=np.nan)


def stable_order(key: np.ndarray) -> np.ndarray:
    """int64[n]: indices that sort the keys (from 0 to below 2**32), equal ones in their order.

    In two halves, since numpy has a radix sort for 16 bits only: five times as fast as its stable sort of 64.
    """
    order = np.argsort((key & 0xFFFF).astype(np.uint16), kind="stable")
    high = (key[order] >> 16).astype(np.uint16)
    return order[np.argsort(high, kind="stable")] if high.any() else order


def running_maximum(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """int64[n]: the largest value so far within each group; equal groups stand together, in rising order."""
    if not len(value):
        return value
    below = value.min()
    span = int(value.max() - below) + 1
    rank = np.cumsum(np.r_[0, group[1:] != group[:-1]])
    if span > (1 << 62) // (int(rank[-1]) + 1):  # groups and times do not fit one number: take ranks instead
        distinct, value = np.unique(value, return_inverse=True)
        return distinct[running_maximum(group, value)]
    return np.maximum.accumulate(value - below + rank * span) - rank * span + below


def _newest_rows(slot: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """int64[len(SIGNALS), m]: at each moment, the subject's last reading of each signal in this batch; -1 = none."""
    index = np.arange(len(slot))
    newest = np.maximum.accumulate(np.where(signal == np.arange(len(SIGNALS))[:, None], index, -1), axis=1)
    first = np.maximum.accumulate(np.where(np.r_[True, slot[1:] != slot[:-1]], index, 0)) if len(slot) else index
    newest[newest < first] = -1
    return newest
