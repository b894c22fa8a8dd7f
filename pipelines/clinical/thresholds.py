"""Limits of single signals: warning and critical, each with its source, and the zone in which a signal is well again.

Holds: the limits and the pure function that compares columns with them.
Does not hold: scores of several signals (`news2.py`), nor what becomes of a level (`pipelines/alerts/policy.py`).

The limits of NEWS2's chart are used where it has them: three points in one parameter (a red score) are critical, two
points are a warning. Limits are inclusive and compared at the chart's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clinical.signals import INDEX, SIGNALS, Signal, charted
from warehouse import vocabulary

RULE_VERSION = "1"

WARNING, CRITICAL = 1, 2

_NEWS2 = "NEWS2, Royal College of Physicians 2017, chart 1"
_MAP = (
    "critical: below 65 mm[Hg], initial target of the Surviving Sepsis Campaign 2021; "
    "warning: below 70 mm[Hg], one point of SOFA, Vincent et al. 1996"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one signal in its canonical unit; None where the source has none on that side.

    Attributes:
        margin: how far inside the outermost limits a value must lie to count as clear (hysteresis, our choice).
    """

    signal: Signal
    critical_low: float | None
    warning_low: float | None
    warning_high: float | None
    critical_high: float | None
    margin: float
    source: str

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


def _limits(
    code: str,
    low: tuple[float | None, float | None],
    high: tuple[float | None, float | None],
    margin: float,
    source: str = _NEWS2,
) -> Limits:
    return Limits(SIGNALS[INDEX[code]], low[0], low[1], high[0], high[1], margin, source)


LIMITS = (
    _limits(vocabulary.RESPIRATORY_RATE, (8, None), (21, 25), 2),
    _limits(vocabulary.SPO2, (91, 93), (None, None), 2),
    _limits(vocabulary.SBP, (90, 100), (None, 220), 5),
    _limits(vocabulary.HEART_RATE, (40, None), (111, 131), 5),
    _limits(vocabulary.CONSCIOUSNESS, (None, None), (None, 1), 1),
    _limits(vocabulary.TEMPERATURE, (35.0, None), (39.1, None), 0.3),
    _limits(vocabulary.MAP, (64, 69), (None, None), 3, _MAP),
)
BY_SIGNAL = {INDEX[limits.signal.code]: limits for limits in LIMITS}


def _edges(pick: str, absent: float) -> np.ndarray:
    """One limit of every signal, in steps of its chart; `absent` where there is none."""
    edges = np.full(len(SIGNALS), absent)
    for at, limits in BY_SIGNAL.items():
        given = getattr(limits, pick)
        if given is not None:
            edges[at] = round(given * limits.signal.steps_per_unit)
    return edges


_CRITICAL_LOW, _CRITICAL_HIGH = _edges("critical_low", -np.inf), _edges("critical_high", np.inf)
_ALERT_LOW = np.maximum(_edges("warning_low", -np.inf), _CRITICAL_LOW)
_ALERT_HIGH = np.minimum(_edges("warning_high", np.inf), _CRITICAL_HIGH)
_MARGIN = _edges("margin", 0.0)
_CLEAR_LOW, _CLEAR_HIGH = _ALERT_LOW + _MARGIN, _ALERT_HIGH - _MARGIN
_STEPS = np.array([signal.steps_per_unit for signal in SIGNALS])


def threshold_levels(signals: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compare n values with the limits of their signals.

    Args:
        signals: int[n], index in `SIGNALS`.
        values: float64[n], canonical unit; NaN is neither alerting nor clear.

    Returns:
        int8[n]: 0 none, 1 warning, 2 critical; and bool[n]: clear. Between the two a value is neither. A signal
        without limits is always clear.
    """
    steps = charted(values, _STEPS[signals])
    warning = (steps <= _ALERT_LOW[signals]) | (steps >= _ALERT_HIGH[signals])
    critical = (steps <= _CRITICAL_LOW[signals]) | (steps >= _CRITICAL_HIGH[signals])
    clear = (steps >= _CLEAR_LOW[signals]) & (steps <= _CLEAR_HIGH[signals])
    return warning.astype(np.int8) + critical, clear
