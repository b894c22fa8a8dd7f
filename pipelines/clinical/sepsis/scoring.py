"""Rows of features to scores, and to what raises them most: what the stream asks of a model, whichever it is.

Holds: `SepsisModel` and `ModelSource`, the seams to the model and to whoever says which is in force; reasons and
missing items of a row.
Does not hold: a model (`score.py` has the one that ships), patients' state (`history.py`), or when to score
(`stream_score.py`).

Reasons are had at once, without the trees: each item's columns are taken away in turn, the model is asked again, and
what lowers the score most is named. That costs one row of scoring an item. The model's own contributions follow
(`contributions.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.features import CONTEXT, DERIVED, FEATURES, WINDOW_H
from pipelines.clinical.sepsis.panel import Floats
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES

MOST_REASONS = 5


class SepsisModel(Protocol):
    """A model in use. Its methods are pure and quick; what they need is loaded before the stream sees it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """A hash of its content: two models never share one."""
        ...

    @property
    def threshold(self) -> float:
        """A score from here on alerts."""
        ...

    def scores(self, rows: Floats) -> Floats:
        """float32[n] of float32[n, F], columns as in `FEATURES`."""
        ...

    def risks(self, scores: Floats) -> NDArray[np.float64]:
        """float64[n], calibrated probabilities, of scores."""
        ...


class ModelSource(Protocol):
    """Which model is in force when: chosen by append time, so that a replay chooses as the stream did."""

    def in_force(self, appended_ms: int) -> SepsisModel: ...


@dataclass(frozen=True, slots=True)
class OneModel:
    """A source that always names the same model."""

    model: SepsisModel

    def in_force(self, appended_ms: int) -> SepsisModel:
        return self.model


def missing_items(row: Floats) -> tuple[str, ...]:
    """Names of what was not measured in the hours the model looks back, and of what is not known of the person."""
    return tuple(name for name, column in _ITEMS if np.isnan(row[column]))


def reasons(model: SepsisModel, row: Floats) -> tuple[str, ...]:
    """What raises the score of this row most, a sentence each, the strongest first; at most `MOST_REASONS`."""
    present = [at for at, (_, columns) in enumerate(_GROUPS) if not np.isnan(row[columns]).all()]
    without = np.repeat(row[None, :], len(present) + 1, axis=0)
    for nth, at in enumerate(present, 1):
        without[nth, _GROUPS[at][1]] = np.nan
    risks = model.risks(model.scores(without))
    lowered = risks[0] - risks[1:]
    strongest = [nth for nth in np.argsort(-lowered, kind="stable")[:MOST_REASONS].tolist() if lowered[nth] > 0]
    return tuple(_sentence(row, _GROUPS[present[nth]][0], risks[0], risks[nth + 1]) for nth in strongest)


_COLUMN = {name: at for at, name in enumerate(FEATURES)}
_ITEMS = [(VARIABLES[at].label, _COLUMN[f"{name}_last"]) for at, name in enumerate(NAMES)] + [
    (item, _COLUMN[item]) for item in CONTEXT if item != "hour"
]
_GROUPS: list[tuple[str, list[int]]] = [
    (name, [at for feature, at in _COLUMN.items() if feature.startswith(f"{name}_") and feature not in DERIVED])
    for name in NAMES
] + [(name, [_COLUMN[name]]) for name in (*DERIVED, *CONTEXT)]
"""What is taken away together: all columns of one variable; each ratio, score and item of the person by itself."""


def _sentence(row: Floats, item: str, risk: float, without: float) -> str:
    return f"{_said(row, item)}: without it the risk would be {without:.3f}, not {risk:.3f}"


def _said(row: Floats, item: str) -> str:
    if item not in NAMES:
        unit = {"age": " years", "admission_h": " h", "hour": " h in intensive care"}.get(item, "")
        return f"{item.replace('_', ' ')} {row[_COLUMN[item]]:g}{unit}"
    variable = VARIABLES[NAMES.index(item)]
    value, since = row[_COLUMN[f"{item}_last"]], row[_COLUMN[f"{item}_since_h"]]
    if np.isnan(value):
        return f"{variable.label} not measured for {WINDOW_H} h or more"
    return f"{variable.label} {value:g} {variable.unit}, {since:g} h ago"
