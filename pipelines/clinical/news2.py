"""NEWS2, the National Early Warning Score: a pure function over columns.

Source: Royal College of Physicians. National Early Warning Score (NEWS) 2. Updated report of a working party.
London: RCP, 2017; chart 1 (the scoring system) and chart 2 (thresholds and triggers).

Holds: the chart, the score, and its comparison with the triggers of a rule pack.
Does not hold: SpO2 scale 2 (hypercapnic respiratory failure, target 88-92 %): it needs a prescription that no stream
carries yet, so every patient is scored on scale 1, and one for whom scale 2 is prescribed scores too high. Nor is the
score meant for children under 16 or in pregnancy; the score cannot tell them apart.

A missing parameter scores 0 and is named: the aggregate is then a lower bound of the true score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipelines.clinical.rule_packs import News2Rule
from pipelines.clinical.signals import INDEX, SIGNALS, Signal, charted
from warehouse import vocabulary

RULE = "news2"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A row of the chart: `upper[i]`, in steps of the chart, is the last value of the band that scores `points[i]`."""

    signal: Signal
    upper: tuple[int, ...]
    points: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.signal.name

    def score(self, values: np.ndarray) -> np.ndarray:
        """int8: the points of each value (canonical unit); NaN scores 0."""
        band = np.searchsorted(self.upper, charted(values, self.signal.steps_per_unit), side="left")
        return np.where(np.isnan(values), 0, np.array(self.points, np.int8)[band]).astype(np.int8)

    def band(self, value: float) -> str:
        """The band of the chart the value lies in, for a reader: `25 or more`."""
        steps = self.signal.steps_per_unit
        at = int(np.searchsorted(self.upper, charted(np.array(value), steps), side="left"))
        if self.signal.words:
            return self.signal.text(value)
        if at == 0:
            return f"{self.upper[0] / steps:g} or less"
        low = f"{(self.upper[at - 1] + 1) / steps:g}"
        return f"{low} or more" if at == len(self.upper) else f"{low} to {self.upper[at] / steps:g}"


def _parameter(code: str, upper: tuple[int, ...], points: tuple[int, ...]) -> Parameter:
    return Parameter(SIGNALS[INDEX[code]], upper, points)


PARAMETERS = (
    _parameter(vocabulary.RESPIRATORY_RATE, (8, 11, 20, 24), (3, 1, 0, 2, 3)),
    _parameter(vocabulary.SPO2, (91, 93, 95), (3, 2, 1, 0)),
    _parameter(vocabulary.SUPPLEMENTAL_OXYGEN, (0,), (0, 2)),
    _parameter(vocabulary.SBP, (90, 100, 110, 219), (3, 2, 1, 0, 3)),
    _parameter(vocabulary.HEART_RATE, (40, 50, 90, 110, 130), (3, 1, 0, 1, 2, 3)),
    _parameter(vocabulary.CONSCIOUSNESS, (0,), (0, 3)),
    _parameter(vocabulary.TEMPERATURE, (350, 360, 380, 390), (3, 1, 0, 1, 2)),
)
# Without these five nothing is proven to be well again; consciousness and oxygen are often not charted at all.
_NEEDED_TO_CLEAR = [i for i, p in enumerate(PARAMETERS) if not p.signal.words]


@dataclass(frozen=True, slots=True)
class News2:
    """Scores of n moments.

    Attributes:
        aggregate: int16[n], sum of the points; a lower bound where anything is missing.
        highest: int8[n], the highest points of a single parameter.
        points: int8[7, n], in the order of `PARAMETERS`.
        missing: bool[7, n].
    """

    aggregate: np.ndarray
    highest: np.ndarray
    points: np.ndarray
    missing: np.ndarray

    def missing_names(self, i: int) -> list[str]:
        return [p.name for p, absent in zip(PARAMETERS, self.missing[:, i], strict=True) if absent]

    def levels(self, triggers: News2Rule) -> np.ndarray:
        """int8[n]: by chart 2, 3 emergency (7 or more), 2 urgent (5 or 6), 1 a red score in one parameter, 0 none."""
        level = (self.highest >= triggers.red_score).astype(np.int8)
        level[self.aggregate >= triggers.urgent] = 2
        level[self.aggregate >= triggers.emergency] = 3
        return level

    def clear(self, triggers: News2Rule) -> np.ndarray:
        """bool[n]: well below every trigger, with nothing missing that a monitor gives (absent is not normal)."""
        known = ~self.missing[_NEEDED_TO_CLEAR].any(axis=0)
        return known & (self.aggregate <= triggers.clear) & (self.highest < triggers.red_score)


def news2(columns: Mapping[str, np.ndarray]) -> News2:
    """Score n moments.

    Args:
        columns: parameter name -> float64[n] in canonical units, NaN = missing: `respiratory_rate` /min, `spo2` %,
            `sbp` mm[Hg], `heart_rate` /min, `temperature` Cel; `level_of_consciousness` 0 alert, 1 to 4 for C V P U;
            `supplemental_oxygen` 0 air, 1 oxygen. A parameter without a column is missing throughout.

    Raises:
        KeyError: a column is not a parameter of the chart, or there is none at all.
    """
    unknown = columns.keys() - {p.name for p in PARAMETERS}
    if unknown or not columns:
        raise KeyError(f"columns must be among {[p.name for p in PARAMETERS]}")
    absent = np.full(len(next(iter(columns.values()))), np.nan)
    values = [columns.get(p.name, absent) for p in PARAMETERS]
    points = np.stack([p.score(v) for p, v in zip(PARAMETERS, values, strict=True)])
    return News2(
        aggregate=points.sum(axis=0, dtype=np.int16),
        highest=points.max(axis=0),
        points=points,
        missing=np.isnan(np.stack(values)),
    )
