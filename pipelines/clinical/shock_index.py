"""Shock index: heart rate over systolic pressure, a pure function over columns.

Source: Allgöwer and Burri, Schockindex, Dtsch Med Wochenschr 1967;92:1947 (0.5 to 0.7 in health). The pack's 0.9: Rady
et al., Ann Emerg Med 1994;24:685; its 1.0: Berger et al., West J Emerg Med 2013;14:168 (lactate and mortality in
suspected infection). Not for children, and blunted by beta-blockers and pacemakers, which no stream tells of.

Holds: the ratio and its levels. Does not hold: the numbers (a rule pack).
"""

from __future__ import annotations

import numpy as np

from pipelines.clinical.rule_packs import ShockIndexRule

RULE = "shock_index"


def shock_index(heart_rate: np.ndarray, sbp: np.ndarray) -> np.ndarray:
    """float64[n]: /min over mm[Hg]; NaN where either is missing."""
    return heart_rate / np.where(sbp > 0, sbp, np.nan)


def levels(index: np.ndarray, told: ShockIndexRule) -> tuple[np.ndarray, np.ndarray]:
    """int8[n]: 2 critical, 1 warning, 0 none; bool[n]: clear, by the margin below the warning. Missing is neither."""
    level = (index >= told.warning).astype(np.int8) + (index >= told.critical)
    return level, index < told.warning - told.margin
