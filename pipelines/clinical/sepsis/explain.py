"""What a score rests on: contributions of each variable, by LightGBM's exact Shapley values of the trees.

Holds: contributions, and the reasons told from them.
Does not hold: scoring. A row costs about a millisecond here, against microseconds for its score: for alerts, and for
who asks.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm as lgb
import numpy as np

from pipelines.clinical.sepsis.features import CONTEXT, DERIVED, FEATURES
from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.panel import Floats
from pipelines.clinical.sepsis.utility import Doubles
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES

_CONTEXT_LABELS = {
    "age": "age",
    "sex": "sex",
    "admission_h": "time since admission to hospital",
    "hour": "hours in intensive care",
}
_LABELS = {variable.name: variable.label for variable in VARIABLES}


@dataclass(frozen=True, slots=True)
class Reason:
    """One group of features: what it added to the log odds of the score, and the value it stands at.

    Attributes:
        group: a variable's name, a derived score's, or `age`, `sex`, `admission_h`, `hour`.
        label: for people.
        contribution: log odds, above zero where it speaks for an alert.
        value: the newest value within the window (canonical unit), or the derived one; None where there is none.
    """

    group: str
    label: str
    contribution: float
    value: float | None


class Explainer:
    """Contributions of one model. Not shared between threads."""

    def __init__(self, files: ModelFiles) -> None:
        self._booster = lgb.Booster(model_str=files.text)

    def contributions(self, rows: Floats) -> tuple[Doubles, Doubles]:
        """float64[n, F] of `FEATURES` and float64[n], what all scores share: together the log odds of each score."""
        found = np.asarray(self._booster.predict(rows, pred_contrib=True, num_threads=1))
        return found[:, :-1], found[:, -1]

    def reasons(self, rows: Floats, most: int = 5) -> list[tuple[Reason, ...]]:
        """Of each row the `most` groups that speak for an alert, strongest first."""
        by_feature, _ = self.contributions(rows)
        groups = sorted(set(GROUP_OF), key=GROUP_OF.index)
        columns = np.array([groups.index(group) for group in GROUP_OF])
        summed = by_feature @ (columns[:, None] == np.arange(len(groups)))
        return [_told(groups, summed[at], rows[at], most) for at in range(len(rows))]


def _group(feature: str) -> str:
    if feature in DERIVED or feature in CONTEXT:
        return feature
    return next(name for name in sorted(NAMES, key=len, reverse=True) if feature.startswith(f"{name}_"))


GROUP_OF: tuple[str, ...] = tuple(_group(feature) for feature in FEATURES)
"""The group that each feature of `FEATURES` is told under."""


def _told(groups: list[str], summed: Doubles, row: Floats, most: int) -> tuple[Reason, ...]:
    order = [at for at in np.argsort(-summed, kind="stable") if summed[at] > 0][:most]
    return tuple(Reason(groups[at], _label(groups[at]), float(summed[at]), _value(groups[at], row)) for at in order)


def _label(group: str) -> str:
    return _LABELS.get(group) or _CONTEXT_LABELS.get(group) or group.replace("_", " ")


def _value(group: str, row: Floats) -> float | None:
    name = group if group in FEATURES else f"{group}_last"
    value = float(row[FEATURES.index(name)])
    return None if np.isnan(value) else value
