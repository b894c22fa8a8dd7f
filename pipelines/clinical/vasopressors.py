"""Which vasopressors run, and how fast: the part of `medication.events` that SOFA asks for.

Holds: the newest word on each drug of each subject. Does not hold: points (`sofa.py`), or any other drug.

An administration says the rate, where it is charted in ug/kg/min; in any other unit only that it runs. A stop says that
it does not. Of each drug the newest word counts, by effective time, of two at the same time the higher rate, whatever
came first; for no longer than `CARRY`.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa

from pipelines.clinical.carry_forward import NEVER
from pipelines.clinical.readings import dictionary, effective_ms, look_up
from pipelines.clinical.sofa import RUNNING, VASOPRESSORS

CARRY = timedelta(hours=6)
_CARRY_MS = int(CARRY.total_seconds() * 1000)
RATE_UNIT = "ug/kg/min"
_DRUG = {code: at for at, code in enumerate(VASOPRESSORS)}
_ACTIONS = {"administered": 1, "stopped": 2}


class Vasopressors:
    """Rates by drug and subject; memory doubles with the number of subjects."""

    def __init__(self) -> None:
        self._at_ms = np.full((len(VASOPRESSORS), 1024), NEVER)
        self._rate = np.zeros((len(VASOPRESSORS), 1024))

    def take(self, slots: np.ndarray, rows: pa.Table) -> np.ndarray:
        """Take in rows of `medication.events` (`slots`: each one's subject, -1 for none); bool[n]: which counted.

        Args:
            rows: columns `code`, `action`, `dose`, `unit`, `event_time`, `kafka_time`.
        """
        drug = look_up(rows["code"], _DRUG, -1).astype(np.int64)
        action = look_up(rows["action"], _ACTIONS, 0)
        chosen = np.flatnonzero((slots >= 0) & (drug >= 0) & (action > 0))
        counted = np.zeros(len(slots), bool)
        if not len(chosen):
            return counted
        counted[chosen] = True
        self._make_room(int(slots.max()))
        rate = np.where(action[chosen] == 1, _rates(rows)[chosen], 0.0)
        at_ms, cell = effective_ms(rows)[chosen], (drug[chosen], slots[chosen])
        order = np.lexsort((rate, at_ms))  # of a cell the last one written stays
        cell, at_ms, rate = (cell[0][order], cell[1][order]), at_ms[order], rate[order]
        held = self._at_ms[cell], self._rate[cell]
        newer = (at_ms > held[0]) | ((at_ms == held[0]) & (rate >= held[1]))
        cell = cell[0][newer], cell[1][newer]
        self._at_ms[cell], self._rate[cell] = at_ms[newer], rate[newer]
        return counted

    def has(self, slots: np.ndarray) -> np.ndarray:
        """bool[n]: whether anything was said of these subjects' vasopressors."""
        self._make_room(int(slots.max(initial=0)))
        return (self._at_ms[:, slots] != NEVER).any(axis=0)

    def as_of(self, slots: np.ndarray, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """float64[4, n], ug/kg/min in the order of `VASOPRESSORS`, 0 = does not run; int64, since when said."""
        self._make_room(int(slots.max(initial=0)))
        at_ms = self._at_ms[:, slots]
        counts = (at_ms <= times_ms) & (times_ms - at_ms <= _CARRY_MS)
        return np.where(counts, self._rate[:, slots], 0.0), at_ms

    def forget(self, slots: np.ndarray) -> None:
        """Nothing is known of these subjects any more."""
        self._make_room(int(slots.max(initial=0)))
        self._at_ms[:, slots], self._rate[:, slots] = NEVER, 0.0

    def _make_room(self, slot: int) -> None:
        more = max(slot + 1 - self._at_ms.shape[1], 0)
        if more:
            more = max(more, self._at_ms.shape[1])
            self._at_ms = np.pad(self._at_ms, ((0, 0), (0, more)), constant_values=NEVER)
            self._rate = np.pad(self._rate, ((0, 0), (0, more)))


def _rates(rows: pa.Table) -> np.ndarray:
    """float64[n]: ug/kg/min; `RUNNING` where the rate is not told so."""
    dose = rows["dose"].to_numpy().astype(np.float64)
    indices, units = dictionary(rows["unit"])
    is_rate = np.array([*(unit == RATE_UNIT for unit in units.to_pylist()), False])[indices]
    return np.where(is_rate & ~np.isnan(dose), dose, RUNNING)
