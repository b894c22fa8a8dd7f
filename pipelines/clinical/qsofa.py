"""qSOFA, the quick Sepsis-related Organ Failure Assessment: a pure function over columns.

Source: Seymour et al., Assessment of clinical criteria for sepsis, JAMA 2016;315:762 (Sepsis-3): one point each for a
respiratory rate of 22/min or more, a systolic pressure of 100 mm[Hg] or less, and altered mentation. Two or more point
to a poor outcome in somebody with a suspected infection; the rule cannot tell whether one is suspected.

Holds: the points. Does not hold: the numbers (a rule pack). A missing sign scores 0 and is named: a lower bound.
Altered mentation is any word of ACVPU but A (Sepsis-3: a Glasgow coma scale below 15).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clinical.rule_packs import QsofaRule
from pipelines.clinical.signals import charted

RULE = "qsofa"
SIGNS = ("respiratory_rate", "sbp", "level_of_consciousness")


@dataclass(frozen=True, slots=True)
class Qsofa:
    """n moments; `met`, `missing`: bool[3, n] in the order of `SIGNS`."""

    met: np.ndarray
    missing: np.ndarray

    @property
    def points(self) -> np.ndarray:
        """int8[n]"""
        return self.met.sum(axis=0, dtype=np.int8)

    def levels(self, told: QsofaRule) -> np.ndarray:
        """int8[n]: 1 from the trigger on, 2 with all three signs."""
        points = self.points
        return (points >= told.points).astype(np.int8) + ((points > told.points) & (points == len(SIGNS)))

    def clear(self, told: QsofaRule) -> np.ndarray:
        """bool[n]: below the trigger, rate and pressure known."""
        return ~self.missing[:2].any(axis=0) & (self.points < told.points)


def qsofa(respiratory_rate: np.ndarray, sbp: np.ndarray, consciousness: np.ndarray, told: QsofaRule) -> Qsofa:
    """Score n moments: /min, mm[Hg], and 0 for alert, above 0 for anything else (float64[n], NaN = missing)."""
    met = np.stack(
        [charted(respiratory_rate, 1) >= told.respiratory_rate, charted(sbp, 1) <= told.sbp, consciousness > 0]
    )
    return Qsofa(met, np.isnan(np.stack([respiratory_rate, sbp, consciousness])))
