"""A trend towards septic shock: the heart rate varies less and less while arterial pressure falls.

Source: Ahmad et al., Continuous multi-parameter heart rate variability analysis heralds onset of sepsis in adults, PLoS
ONE 2009;4:e6642 (variability falls hours before sepsis is diagnosed); that a falling mean arterial pressure belongs to
it is the definition of shock. How far both must fall is our choice and stands in the rule pack.

Holds: windows of five minutes as sums, and the trend over them. Does not hold: the pack's numbers, or alerts.

In words. Readings of heart rate and mean arterial pressure are added to the window of five minutes in which their
effective time lies, in whatever order they come. With the first reading in a new window the windows before it are
judged: a straight line by least squares through the standard deviation of the heart rate, one through the mean
pressure. From the first to the last window of the trend both lines must fall by what the pack says. Variability is that
of samples of the rate; where a monitor's samples are rounded to whole beats it has a floor of about 0.3/min.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from pipelines.clinical.carry_forward import stable_order
from pipelines.clinical.findings import Account
from pipelines.clinical.rule_packs import ShockTrendRule
from pipelines.clinical.variability import deviation

RULE = "shock_trend"
WINDOW_MS = 300_000
KEPT = 25
"""Windows remembered: the longest trend a pack may ask for, and the one that is being filled."""
LOOKBACK = timedelta(milliseconds=WINDOW_MS * KEPT)
LEAST_SAMPLES = 5
TENTHS = 10
"""Sums are of whole tenths, so that they do not depend on the order of adding."""


@dataclass(frozen=True, slots=True)
class Trend:
    """n subjects: windows that tell, the lines' values at the first and the last window (float64[n], NaN = unknown)."""

    windows: np.ndarray
    variability: tuple[np.ndarray, np.ndarray]
    pressure: tuple[np.ndarray, np.ndarray]

    def levels(self, told: ShockTrendRule) -> tuple[np.ndarray, np.ndarray]:
        """int8[n]: 1 where both fall, else 0; bool[n]: clear, where either falls by less than half of it."""
        enough = self.windows >= told.least_windows
        first, last = self.variability
        fall = np.where(first > 0, (first - last) / np.where(first > 0, first, 1.0), 0.0)
        drop = self.pressure[0] - self.pressure[1]
        level = enough & (fall >= told.variability_fall) & (drop >= told.map_fall)
        clear = enough & ((fall < told.variability_fall / 2) | (drop < told.map_fall / 2))
        return level.astype(np.int8), clear

    def account(self, nth: int, _level: int) -> Account:
        """In words."""
        (rate, to_rate), (pressure, to_pressure) = (
            (float(first[nth]), float(last[nth])) for first, last in (self.variability, self.pressure)
        )
        reasons = (
            f"variability of the heart rate falls from {rate:.1f} to {to_rate:.1f} /min, mean arterial pressure from "
            f"{pressure:.0f} to {to_pressure:.0f} mm[Hg], over {int(self.windows[nth])} windows of 5 min",
            "standard deviation of samples of the rate; intervals between beats are not streamed (Ahmad et al. 2009)",
        )
        return Account("urgent", reasons, missing=("beat_intervals",))


def trend(variability: np.ndarray, pressure: np.ndarray) -> Trend:
    """Lines through k windows of n subjects (float64[n, k], oldest first, NaN = not known)."""
    known = ~(np.isnan(variability) | np.isnan(pressure))
    count = known.sum(axis=1)
    at = np.arange(variability.shape[1], dtype=np.float64)
    middle = np.where(known, at, 0.0).sum(axis=1) / np.maximum(count, 1)
    off = np.where(known, at - middle[:, None], 0.0)
    spread = (off * off).sum(axis=1)
    lines = [
        _ends(np.where(known, values, 0.0), off, spread, middle, count, at[-1]) for values in (variability, pressure)
    ]
    return Trend(count, lines[0], lines[1])


def _ends(
    values: np.ndarray, off: np.ndarray, spread: np.ndarray, middle: np.ndarray, count: np.ndarray, last: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where the line of least squares stands at the first window and at the last."""
    mean = values.sum(axis=1) / np.where(count > 0, count, np.nan)
    slope = (off * values).sum(axis=1) / np.where(spread > 0, spread, np.nan)
    return mean - slope * middle, mean + slope * (last - middle)


@dataclass(frozen=True, slots=True)
class Opened:
    """k readings that opened a new window of their subject: index of each in what was given, and the trend before."""

    row: np.ndarray
    trend: Trend


class Windows:
    """Sums of each subject's last windows; memory doubles with the number of subjects that have any."""

    def __init__(self, capacity: int = 64) -> None:
        self._place = np.full(1024, -1)
        self._count = 0
        self._newest = np.full(capacity, -1)
        self._stamp = np.full((capacity, KEPT), -1)
        self._rate = np.zeros((3, capacity, KEPT), np.int64)
        self._pressure = np.zeros((2, capacity, KEPT), np.int64)

    def advance(
        self, slots: np.ndarray, is_rate: np.ndarray, at_ms: np.ndarray, values: np.ndarray, windows: int
    ) -> list[Opened]:
        """Add readings in position order (heart rate where `is_rate`, else mean pressure); what opened a window.

        Args:
            windows: over how many windows a trend goes.
        """
        if not len(slots):
            return []
        place, window = self._places(slots), at_ms // WINDOW_MS
        turn = self._turns(place, window)
        opened = []
        for nth in range(int(turn.max()) + 1):
            now = np.flatnonzero(turn == nth)
            if nth:
                opening = now[window[now] > self._newest[place[now]]]
                _, first = np.unique(place[opening], return_index=True)
                opening = np.sort(opening[first])
                opened.append(Opened(opening, self._trend(place[opening], window[opening], windows)))
                self._newest[place[opening]] = window[opening]
            self._add(place[now], window[now], is_rate[now], values[now])
        return opened

    def _turns(self, place: np.ndarray, window: np.ndarray) -> np.ndarray:
        """int64[n]: how many windows each reading's subject had opened once it was there; 0 = none in this batch."""
        order = stable_order(place)
        grouped, windows = place[order], window[order]
        first = np.r_[True, grouped[1:] != grouped[:-1]]
        newest = _running_newest(grouped, windows, self._newest[grouped])
        before = np.where(first, self._newest[grouped], np.r_[0, newest[:-1]])
        opens = np.cumsum(newest > before)
        start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
        turn = np.empty_like(opens)
        turn[order] = opens - (opens[start] - (newest > before)[start])
        return turn

    def _add(self, place: np.ndarray, window: np.ndarray, is_rate: np.ndarray, values: np.ndarray) -> None:
        kept = window > self._newest[place] - KEPT
        place, window, is_rate = place[kept], window[kept], is_rate[kept]
        tenths = np.floor(values[kept] * TENTHS + 0.5).astype(np.int64)
        cell = window % KEPT
        stale = self._stamp[place, cell] != window
        fresh = place[stale], cell[stale]
        self._rate[:, *fresh], self._pressure[:, *fresh] = 0, 0
        self._stamp[fresh] = window[stale]
        for sums, chosen, powers in ((self._rate, is_rate, 3), (self._pressure, ~is_rate, 2)):
            at = place[chosen], cell[chosen]
            for power in range(powers):
                np.add.at(sums[power], at, tenths[chosen] ** power)

    def restore(self, slots: np.ndarray, window: np.ndarray, rate: np.ndarray, pressure: np.ndarray) -> None:
        """Take over whole windows: number, sum and sum of squares of the rate (int64[3, n]) and number and sum of the
        pressure (int64[2, n]), in tenths."""
        if not len(slots):
            return
        place = self._places(slots)
        np.maximum.at(self._newest, place, window)
        kept = window > self._newest[place] - KEPT
        at = place[kept], window[kept] % KEPT
        self._stamp[at] = window[kept]
        self._rate[:, *at], self._pressure[:, *at] = rate[:, kept], pressure[:, kept]

    def forget(self, slots: np.ndarray) -> None:
        """Nothing is known of these subjects any more."""
        slots = slots[slots < len(self._place)]
        place = self._place[slots]
        place = place[place >= 0]
        self._newest[place], self._stamp[place] = -1, -1
        self._rate[:, place], self._pressure[:, place] = 0, 0

    def _trend(self, place: np.ndarray, before: np.ndarray, windows: int) -> Trend:
        wanted = before[:, None] + np.arange(-windows, 0)
        cell = place[:, None], wanted % KEPT
        told = self._stamp[cell] == wanted
        count, total, squares = (np.where(told, sums[cell], 0) for sums in self._rate)
        varies = np.where(count >= LEAST_SAMPLES, deviation(count, total, squares) / TENTHS, np.nan)
        heard, summed = (np.where(told, sums[cell], 0) for sums in self._pressure)
        return trend(varies, np.where(heard > 0, summed / np.maximum(heard, 1) / TENTHS, np.nan))

    def _places(self, slots: np.ndarray) -> np.ndarray:
        most = int(slots.max(initial=0))
        if most >= len(self._place):
            self._place = np.pad(self._place, (0, max(most + 1, len(self._place))), constant_values=-1)
        new = np.unique(slots[self._place[slots] < 0])
        self._place[new] = np.arange(self._count, self._count + len(new))
        self._count += len(new)
        while self._count > len(self._newest):
            self._newest = np.concatenate([self._newest, np.full_like(self._newest, -1)])
            self._stamp = np.concatenate([self._stamp, np.full_like(self._stamp, -1)])
            self._rate = np.concatenate([self._rate, np.zeros_like(self._rate)], axis=1)
            self._pressure = np.concatenate([self._pressure, np.zeros_like(self._pressure)], axis=1)
        return self._place[slots]


def _running_newest(group: np.ndarray, window: np.ndarray, held: np.ndarray) -> np.ndarray:
    """int64[n]: the newest window so far within each group, of those held before too."""
    rank = np.cumsum(np.r_[0, group[1:] != group[:-1]])
    span = int(max(window.max(), held.max())) + 2
    return np.maximum.accumulate(np.maximum(window, held) + 1 + rank * span) - rank * span - 1
