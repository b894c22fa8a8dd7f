"""Absence: nothing heard of a monitored signal for longer than a pack allows.

Holds: when each signal of each subject was last heard of, by the broker's append time, and which silences are due.
Does not hold: any clock (a tick brings it), whether the subject is still in the house, or the alert.

Only what is heard while messages are fresh says anything: the stream ticks only where it has read all there is. By the
device's time a monitor whose clock is behind would always be silent; so silence is reckoned from append to now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from pipelines.clinical.carry_forward import NEVER
from pipelines.clinical.readings import Readings
from pipelines.clinical.rule_packs import AbsenceRule
from pipelines.clinical.signals import SIGNALS

FORGOTTEN_AFTER = timedelta(hours=12)
"""Who has been silent for so long is not asked after any more."""
_FORGOTTEN_MS = int(FORGOTTEN_AFTER.total_seconds() * 1000)
_MINUTE_MS = 60_000
NOT_TOLD = NEVER


@dataclass(frozen=True, slots=True)
class Silence:
    """A signal that is silent, and its last reading's times and place."""

    slot: int
    signal: int
    appended_ms: int
    effective_ms: int
    partition: int
    offset: int


class Silences:
    """The last reading of each signal of each subject; memory doubles with the number of subjects."""

    def __init__(self, capacity: int = 1024) -> None:
        shape = (len(SIGNALS), capacity)
        self._appended_ms, self._effective_ms = np.full(shape, NEVER), np.full(shape, NEVER)
        self._partition, self._offset = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self._told_ms = np.full(shape, NOT_TOLD)

    def hear(
        self,
        slots: np.ndarray,
        readings: Readings,
        appended_ms: np.ndarray,
        partitions: np.ndarray,
        offsets: np.ndarray,
    ) -> None:
        """Take in readings in position order; the last three columns are of the table they came from."""
        if not len(slots):
            return
        self._make_room(int(slots.max()))
        cell, row = (readings.signal, slots), readings.row
        # Of a cell that is named several times the last one stays.
        self._appended_ms[cell], self._effective_ms[cell] = appended_ms[row], readings.effective_ms
        self._partition[cell], self._offset[cell] = partitions[row], offsets[row]

    def due(self, rules: Mapping[int, AbsenceRule], now_ms: int) -> list[Silence]:
        """Silences longer than their rule allows that were not told yet. `rules`: signal -> its rule."""
        found = []
        for signal, rule in rules.items():
            heard = self._appended_ms[signal]
            silent_ms = now_ms - heard
            due = (silent_ms > rule.minutes * _MINUTE_MS) & (silent_ms < _FORGOTTEN_MS)
            due &= self._told_ms[signal] != self._effective_ms[signal]
            found += [self._silence(signal, slot) for slot in np.flatnonzero(due).tolist()]
        return found

    def tell(self, slot: int, signal: int, effective_ms: int) -> None:
        """The silence since the reading of this effective time was told; it is not told again."""
        self._make_room(slot)
        self._told_ms[signal, slot] = effective_ms

    def forget(self, slots: np.ndarray) -> None:
        """Nobody asks after these subjects any more."""
        self._make_room(int(slots.max(initial=0)))
        self._appended_ms[:, slots], self._effective_ms[:, slots], self._told_ms[:, slots] = NEVER, NEVER, NOT_TOLD
        self._partition[:, slots], self._offset[:, slots] = 0, 0

    def _silence(self, signal: int, slot: int) -> Silence:
        columns = (self._appended_ms, self._effective_ms, self._partition, self._offset)
        return Silence(slot, signal, *(int(column[signal, slot]) for column in columns))

    def _make_room(self, slot: int) -> None:
        more = slot + 1 - self._told_ms.shape[1]
        if more <= 0:
            return
        wider = ((0, 0), (0, max(more, self._told_ms.shape[1])))
        for name, empty in (("_appended_ms", NEVER), ("_effective_ms", NEVER), ("_told_ms", NOT_TOLD)):
            setattr(self, name, np.pad(getattr(self, name), wider, constant_values=empty))
        self._partition, self._offset = np.pad(self._partition, wider), np.pad(self._offset, wider)
