"""SIRS, the systemic inflammatory response syndrome: a pure function over columns.

Source: Bone et al., Definitions for sepsis and organ failure, Chest 1992;101:1644: two or more of temperature above 38
or below 36 Cel; heart rate above 90/min; respiratory rate above 20/min or PaCO2 below 32 mm[Hg]; leukocytes above 12 or
below 4 x 10*3/uL. More than 10 % immature forms, the other half of the last criterion, is in no stream of ours.

Holds: the criteria. Does not hold: the numbers (a rule pack). What is missing meets no criterion and is named: the
count is a lower bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.clinical.rule_packs import SirsRule
from pipelines.clinical.signals import charted

RULE = "sirs"
CRITERIA = ("temperature", "heart_rate", "breathing", "leukocytes")
NEVER_KNOWN = ("immature_leukocytes",)


@dataclass(frozen=True, slots=True)
class Sirs:
    """n moments; `met`, `missing`: bool[4, n] in the order of `CRITERIA`."""

    met: np.ndarray
    missing: np.ndarray

    @property
    def count(self) -> np.ndarray:
        """int8[n]: criteria met."""
        return self.met.sum(axis=0, dtype=np.int8)

    def levels(self, told: SirsRule) -> np.ndarray:
        """int8[n]: 1 with as many criteria as the trigger asks, else 0."""
        return (self.count >= told.criteria).astype(np.int8)

    def clear(self, told: SirsRule) -> np.ndarray:
        """bool[n]: fewer, and what a monitor gives is known."""
        return ~self.missing[:3].any(axis=0) & (self.count < told.criteria)


def sirs(
    temperature: np.ndarray,
    heart_rate: np.ndarray,
    respiratory_rate: np.ndarray,
    paco2: np.ndarray,
    leukocytes: np.ndarray,
    told: SirsRule,
) -> Sirs:
    """Judge n moments: Cel, /min, /min, mm[Hg], 10*3/uL (float64[n], NaN = missing); as charted, limits exclusive."""
    tenths = charted(temperature, 10)
    cells = charted(leukocytes, 10)
    met = np.stack(
        [
            (tenths > round(told.temperature_above * 10)) | (tenths < round(told.temperature_below * 10)),
            charted(heart_rate, 1) > told.heart_rate_above,
            (charted(respiratory_rate, 1) > told.respiratory_rate_above) | (charted(paco2, 1) < told.paco2_below),
            (cells > round(told.leukocytes_above * 10)) | (cells < round(told.leukocytes_below * 10)),
        ]
    )
    breathing = np.isnan(respiratory_rate) & np.isnan(paco2)
    return Sirs(met, np.stack([np.isnan(temperature), np.isnan(heart_rate), breathing, np.isnan(leukocytes)]))
