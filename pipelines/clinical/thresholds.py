"""Limits of single signals: warning and critical, each with its source, and the zone in which a signal is well again.

Holds: the comparison of columns with limits. Does not hold: the limits themselves (a rule pack, `rule_packs.py`),
scores of several signals (`news2.py`), nor what becomes of a level (`pipelines/alerts/policy.py`).

In the pack that comes with the product the limits of NEWS2's chart are used where it has them: three points in one
parameter (a red score) are critical, two points are a warning. Limits are inclusive and compared at the chart's
resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.clinical.rule_packs import RulePack, Threshold
from pipelines.clinical.signals import Signal, charted

WARNING, CRITICAL = 1, 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one signal in its canonical unit; None where there is none on that side.

    Attributes:
        margin: how far inside the outermost limits a value must lie to count as clear (hysteresis).
    """

    signal: Signal
    critical_low: float | None
    warning_low: float | None
    warning_high: float | None
    critical_high: float | None
    margin: float
    source: str

    @classmethod
    def of(cls, signal: Signal, told: Threshold) -> Limits:
        return cls(
            signal, told.critical_low, told.warning_low, told.warning_high, told.critical_high, told.margin, told.source
        )

    @property
    def rule(self) -> str:
        return f"threshold.{self.signal.name}"

    def crossed(self, level: int, value: float) -> float:
        """The limit of this level that the value has reached."""
        low = self.critical_low if level == CRITICAL else self.warning_low
        steps = self.signal.steps_per_unit
        if low is not None and charted(np.array(value), steps) <= round(low * steps):
            return low
        high = self.critical_high if level == CRITICAL else self.warning_high
        assert high is not None
        return high

    def reason(self, level: int, value: float) -> str:
        """For people: `spo2 (59408-5) 86 %, critical limit 91 % (source)`."""
        signal, kind = self.signal, "critical" if level == CRITICAL else "warning"
        limit = signal.text(self.crossed(level, value))
        return f"{signal.name} ({signal.code}) {signal.text(value)}, {kind} limit {limit} ({self.source})"


class LimitTable:
    """The limits of all signals of a room as arrays.

    Args:
        signals: the room's signals, in the order by which `levels` numbers them.
        limits: index of a signal -> its limits; the others have none.
    """

    def __init__(self, signals: Sequence[Signal], limits: dict[int, Limits]) -> None:
        self.by_signal = limits
        self._steps = np.array([signal.steps_per_unit for signal in signals])
        self._critical_low, self._critical_high = (
            self._edges("critical_low", -np.inf),
            self._edges("critical_high", np.inf),
        )
        self._alert_low = np.maximum(self._edges("warning_low", -np.inf), self._critical_low)
        self._alert_high = np.minimum(self._edges("warning_high", np.inf), self._critical_high)
        margin = self._edges("margin", 0.0)
        self._clear_low, self._clear_high = self._alert_low + margin, self._alert_high - margin

    @classmethod
    def of(cls, pack: RulePack, signals: Sequence[Signal]) -> LimitTable:
        """Those that a pack has for these signals."""
        limits = {}
        for at, signal in enumerate(signals):
            told = pack.rules.get(f"threshold.{signal.name}")
            if isinstance(told, Threshold) and told.enabled:
                limits[at] = Limits.of(signal, told)
        return cls(signals, limits)

    def _edges(self, pick: str, absent: float) -> np.ndarray:
        """One limit of every signal, in steps of its chart; `absent` where there is none."""
        edges = np.full(len(self._steps), absent)
        for at, limits in self.by_signal.items():
            given = getattr(limits, pick)
            if given is not None:
                edges[at] = round(given * limits.signal.steps_per_unit)
        return edges

    def levels(self, signals: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compare n values with the limits of their signals.

        Args:
            signals: int[n], index of the signal.
            values: float64[n], canonical unit; NaN is neither alerting nor clear.

        Returns:
            int8[n]: 0 none, 1 warning, 2 critical; and bool[n]: clear. Between the two a value is neither. A signal
            without limits is always clear.
        """
        steps = charted(values, self._steps[signals])
        warning = (steps <= self._alert_low[signals]) | (steps >= self._alert_high[signals])
        critical = (steps <= self._critical_low[signals]) | (steps >= self._critical_high[signals])
        clear = (steps >= self._clear_low[signals]) & (steps <= self._clear_high[signals])
        return warning.astype(np.int8) + critical, clear
