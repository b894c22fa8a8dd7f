"""Hours of stays as arrays: what the sepsis model sees of patients, in the stream and offline alike.

Holds: `Panel`, and taking some of its stays or the newest hours of each.
Does not hold: where the hours come from (`psv`, `learning_set`, the stream's state), nor labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.variables import VARIABLES

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
FEMALE, MALE = 0.0, 1.0
MEDICAL, SURGICAL = 1.0, 2.0


@dataclass(frozen=True, slots=True)
class Panel:
    """Patient-hours, stay by stay, within a stay consecutive hours in ascending order.

    Attributes:
        values: float32[n, V], one column a variable in the order of `VARIABLES`, canonical units; NaN = not measured in
            that hour. An hour without any measurement is a row all the same. Implausible values are NaN
            (`without_implausible`).
        starts: int64[stays + 1], first row of each stay; the last entry is n.
        hour: int64[n], hours in intensive care, from 1 (PhysioNet's ICULOS).
        age: float32[n], years. NaN unknown, as in those that follow.
        sex: float32[n], `FEMALE` or `MALE`.
        admission_h: float32[n], hours from admission to intensive care back to that to the hospital, mostly negative
            (PhysioNet's HospAdmTime).
        unit: float32[n], `MEDICAL` or `SURGICAL` intensive care. For judging subgroups; no feature reads it.
    """

    values: Floats
    starts: Integers
    hour: Integers
    age: Floats
    sex: Floats
    admission_h: Floats
    unit: Floats

    def __post_init__(self) -> None:
        rows = len(self.hour)
        if self.values.shape != (rows, len(VARIABLES)) or self.values.dtype != np.float32:
            raise ValueError(f"values: float32[{rows}, {len(VARIABLES)}] wanted, {self.values.dtype} given")
        if self.starts[0] != 0 or self.starts[-1] != rows or (np.diff(self.starts) < 1).any():
            raise ValueError("starts: ascending from 0 to the number of rows; no stay without an hour")
        if len({rows, *map(len, (self.age, self.sex, self.admission_h, self.unit))}) != 1:
            raise ValueError(f"age, sex, admission_h, unit: {rows} rows wanted")
        if (np.diff(self.hour)[~self._ends()[:-1]] != 1).any():
            raise ValueError("hour: consecutive within a stay; an hour without measurements is a row of NaN")

    @property
    def rows(self) -> int:
        return len(self.hour)

    @property
    def stays(self) -> int:
        return len(self.starts) - 1

    def _ends(self) -> NDArray[np.bool_]:
        ends = np.zeros(self.rows, dtype=bool)
        ends[self.starts[1:] - 1] = True
        return ends

    def at(self) -> Integers:
        """int64[n]: each row's place within its stay, from 0."""
        return np.arange(self.rows) - np.repeat(self.starts[:-1], np.diff(self.starts))

    def stay_of_row(self) -> Integers:
        """int64[n]: the number of each row's stay."""
        return np.repeat(np.arange(self.stays), np.diff(self.starts))


def of_stays(panel: Panel, stays: Integers) -> Panel:
    """The same with these stays only, in the order given."""
    lengths = np.diff(panel.starts)[stays]
    return _taken(panel, rows_of(panel.starts, stays), lengths)


def rows_of(starts: Integers, stays: Integers) -> Integers:
    """The numbers of all rows of these stays, stay by stay in the order given."""
    lengths = np.diff(starts)[stays]
    ends = np.cumsum(lengths)
    return np.arange(int(lengths.sum())) + np.repeat(starts[:-1][stays] - (ends - lengths), lengths)


def newest(panel: Panel, hours: int) -> Panel:
    """The last `hours` hours of each stay, all of those that are shorter."""
    lengths = np.minimum(np.diff(panel.starts), hours)
    firsts = panel.starts[1:] - lengths
    ends = np.cumsum(lengths)
    return _taken(panel, np.arange(int(lengths.sum())) + np.repeat(firsts - (ends - lengths), lengths), lengths)


def blocks(panel: Panel, rows: int) -> Iterator[Panel]:
    """Whole stays in their order, in panels of about `rows` rows (a longer stay is one block): views, not copies."""
    first = 0
    while first < panel.stays:
        last = int(np.searchsorted(panel.starts, panel.starts[first] + rows, side="right")) - 1
        last = max(last, first + 1)
        low, high = int(panel.starts[first]), int(panel.starts[last])
        starts = panel.starts[first : last + 1] - low
        yield _rows_of_panel(panel, slice(low, high), starts)
        first = last


def without_implausible(values: NDArray[np.floating]) -> Floats:
    """float32[n, V] with NaN where a value is none that a living person can show (`warehouse/vocabulary.py`)."""
    low, high = np.array([variable.bounds for variable in VARIABLES], dtype=np.float64).T
    with np.errstate(invalid="ignore"):
        return np.where((values >= low) & (values <= high), values, np.float32(np.nan)).astype(np.float32)


def with_values(panel: Panel, values: Floats) -> Panel:
    """The same hours with other values."""
    return replace(panel, values=values)


def _taken(panel: Panel, rows: Integers, lengths: Integers) -> Panel:
    return _rows_of_panel(panel, rows, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


def _rows_of_panel(panel: Panel, rows: Integers | slice, starts: Integers) -> Panel:
    return Panel(
        values=panel.values[rows],
        starts=starts,
        hour=panel.hour[rows],
        age=panel.age[rows],
        sex=panel.sex[rows],
        admission_h=panel.admission_h[rows],
        unit=panel.unit[rows],
    )
