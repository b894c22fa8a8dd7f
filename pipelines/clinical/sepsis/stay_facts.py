"""What drift is judged on: a few numbers a stay, so that a stay counts once however long it was.

Holds: `StayFacts` and their making from a panel of values as they were sent.
Does not hold: profiles (`drift_profile.py`), verdicts (`drift.py`).

Hours of one stay resemble each other; tests over hours would take one long stay for a thousand witnesses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.panel import Floats, Integers, Panel
from pipelines.clinical.sepsis.variables import NAMES

CONTEXT = ("age", "sex", "admission_h", "medical_unit", "stay_h")
"""What is known of a stay as a whole, beside its measurements. `stay_h` is told and never judged: the newest stays of a
window are those not yet over."""
JUDGED_CONTEXT = CONTEXT[:-1]


@dataclass(frozen=True, slots=True)
class StayFacts:
    """m stays.

    Attributes:
        median: float64[m, V], the middle of what was measured, NaN where nothing was.
        measured: float64[m, V], share of hours with a measurement.
        pairs: int64[m, V], measurements that followed another; equal: those of them that had its very value.
        context: float64[m, 4], columns of `CONTEXT`.
        ward: str[m]; device: str[m], the monitor at the bed; empty where it is not known.
    """

    median: NDArray[np.float64]
    measured: NDArray[np.float64]
    pairs: Integers
    equal: Integers
    context: NDArray[np.float64]
    ward: NDArray[np.str_]
    device: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.ward)

    def take(self, stays: Integers | NDArray[np.bool_]) -> StayFacts:
        """The same of these stays only."""
        return StayFacts(*(getattr(self, name)[stays] for name in self.__dataclass_fields__))


def facts_of(panel: Panel, ward: NDArray[np.str_], device: NDArray[np.str_]) -> StayFacts:
    """The facts of a panel's stays. `panel.values`: as sent, in the canonical unit, implausible values among them: a
    wrong unit makes values implausible, and where those are left out it shows as mere absence."""
    stay = panel.stay_of_row()
    hours = np.diff(panel.starts)
    shape = (panel.stays, len(NAMES))
    median, measured = np.full(shape, np.nan), np.empty(shape)
    pairs, equal = np.empty(shape, np.int64), np.empty(shape, np.int64)
    for at in range(len(NAMES)):
        rows = np.flatnonzero(~np.isnan(panel.values[:, at]))
        value, owner = panel.values[rows, at].astype(np.float64), stay[rows]
        measured[:, at] = np.bincount(owner, minlength=panel.stays) / hours
        median[:, at] = _medians(value, owner, panel.stays)
        follows = owner[1:] == owner[:-1]
        pairs[:, at] = np.bincount(owner[1:][follows], minlength=panel.stays)
        equal[:, at] = np.bincount(owner[1:][follows & (value[1:] == value[:-1])], minlength=panel.stays)
    return StayFacts(median, measured, pairs, equal, _context(panel), ward, device)


def _medians(value: NDArray[np.float64], owner: Integers, stays: int) -> NDArray[np.float64]:
    """float64[stays]: the lower middle value of each; NaN for one without any."""
    out = np.full(stays, np.nan)
    if len(value):
        order = np.lexsort((value, owner))
        first = np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])
        count = np.diff(np.r_[first, len(order)])
        out[owner[order][first]] = value[order][first + (count - 1) // 2]
    return out


def _context(panel: Panel) -> NDArray[np.float64]:
    first = panel.starts[:-1]
    unit = panel.unit[first]
    medical = np.where(np.isnan(unit), np.nan, unit == 1.0)
    columns: list[Floats] = [panel.age[first], panel.sex[first], panel.admission_h[first], medical]
    return np.stack([*columns, np.diff(panel.starts)], axis=1).astype(np.float64)
