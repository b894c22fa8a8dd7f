"""SOFA, the Sequential Organ Failure Assessment, as far as our streams tell it: a pure function over columns.

Source: Vincent et al., The SOFA score, Intensive Care Med 1996;22:707; two points or more as organ dysfunction:
Singer et al., Sepsis-3, JAMA 2016;315:801 (a rise of two over a baseline, which is taken as 0 as they advise where none
is known).

Holds: the points of the six organs. Does not hold: the trigger (a rule pack). **The score is a lower bound**, always:
- respiration: PaO2/FiO2, FiO2 from the blood gas, or 21 % where air is charted. Three and four points need respiratory
  support, which no stream tells of: two at most.
- circulation: mean arterial pressure, or vasopressors by their rate in ug/kg/min. Of one given in another unit only
  that it runs is known: the fewest points it can mean.
- kidneys: creatinine alone; urine output is in no stream.
- nervous system: the Glasgow coma scale is in no stream: no points.
What is missing scores 0 and is named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clinical.rule_packs import SofaRule
from pipelines.clinical.signals import charted

RULE = "sofa"
ORGANS = ("respiration", "coagulation", "liver", "circulation", "kidneys")
NEVER_KNOWN = ("glasgow_coma_scale", "urine_output", "respiratory_support")
DOPAMINE, DOBUTAMINE, EPINEPHRINE, NOREPINEPHRINE = range(4)
VASOPRESSORS = ("3628", "3616", "3992", "7512")
"""RxNorm ingredients, in the order of the rates."""
RUNNING = 1e-9
"""The rate of a vasopressor that runs at a rate we cannot read."""


@dataclass(frozen=True, slots=True)
class Sofa:
    """n moments; `points` int8[5, n], `missing` bool[5, n], in the order of `ORGANS`."""

    points: np.ndarray
    missing: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """int8[n]: a lower bound."""
        return self.points.sum(axis=0, dtype=np.int8)

    def levels(self, told: SofaRule) -> np.ndarray:
        """int8[n]: 1 from the trigger on, else 0."""
        return (self.total >= told.points).astype(np.int8)

    def clear(self, told: SofaRule) -> np.ndarray:
        """bool[n]: below the trigger, with something of the circulation known."""
        return ~self.missing[3] & (self.total < told.points)


def sofa(
    pao2: np.ndarray,
    fio2: np.ndarray,
    platelets: np.ndarray,
    bilirubin: np.ndarray,
    mean_pressure: np.ndarray,
    vasopressors: np.ndarray,
    creatinine: np.ndarray,
) -> Sofa:
    """Score n moments.

    Args:
        pao2, fio2, platelets, bilirubin, mean_pressure, creatinine: mm[Hg], %, 10*3/uL, mg/dL, mm[Hg], mg/dL;
            float64[n], NaN = missing.
        vasopressors: float64[4, n], ug/kg/min in the order of `VASOPRESSORS`; 0 = not given.
    """
    ratio = pao2 / (fio2 / 100)
    points = [
        _falling(ratio, (300, 400), (2, 1, 0)),
        _falling(charted(platelets, 1), (20, 50, 100, 150), (4, 3, 2, 1, 0)),
        _rising(charted(bilirubin, 10), (12, 20, 60, 120)),
        np.maximum(_falling(charted(mean_pressure, 1), (70,), (1, 0)), _of_vasopressors(vasopressors)),
        _rising(charted(creatinine, 10), (12, 20, 35, 50)),
    ]
    none_given = ~(vasopressors > 0).any(axis=0)
    unknown = [ratio, platelets, bilirubin, np.where(none_given, mean_pressure, 0.0), creatinine]
    return Sofa(np.stack(points), np.isnan(np.stack(unknown)))


def _falling(values: np.ndarray, below: tuple[int, ...], points: tuple[int, ...]) -> np.ndarray:
    """int8[n]: `points[i]` below `below[i]`, the last at or above all; missing 0."""
    band = np.searchsorted(below, values, side="right")
    return np.where(np.isnan(values), 0, np.array(points, np.int8)[band]).astype(np.int8)


def _rising(values: np.ndarray, from_on: tuple[int, ...]) -> np.ndarray:
    """int8[n]: one point more from each limit on; missing 0."""
    return np.where(np.isnan(values), 0, np.searchsorted(from_on, values, side="right")).astype(np.int8)


def _of_vasopressors(rates: np.ndarray) -> np.ndarray:
    """int8[n]: the circulation's points by the rates of dopamine, dobutamine, epinephrine, norepinephrine."""
    dopamine, dobutamine, catecholamine = rates[0], rates[1], np.maximum(rates[2], rates[3])
    points = np.zeros(rates.shape[1], np.int8)
    points[(dopamine > 0) | (dobutamine > 0)] = 2
    points[(dopamine > 5) | (catecholamine > 0)] = 3
    points[(dopamine > 15) | (catecholamine > 0.1)] = 4
    return points
