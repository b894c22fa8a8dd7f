"""Made-up stays for tests: no patient, a seed and a shape."""

from __future__ import annotations

import numpy as np

from pipelines.clinical.sepsis.learning_set import CONTEXT_COLUMNS, LABEL, LearningSet
from pipelines.clinical.sepsis.panel import MEDICAL, SURGICAL, Panel, with_values
from pipelines.clinical.sepsis.train import Recipe
from pipelines.clinical.sepsis.variables import INDEX, LAB, NAMES, VARIABLES


def made_up(stays: int, seed: int, longest: int = 120) -> Panel:
    """Stays of 1 to `longest` hours: vitals mostly there, labs now and then, gaps of days, some blank hours."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest + 1, stays)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = int(starts[-1])
    share = np.array([0.03 if variable.kind == LAB else 0.8 for variable in VARIABLES])
    low, high = np.array([variable.bounds for variable in VARIABLES]).T
    values = random.uniform(low, np.minimum(high, low + 150), (rows, len(VARIABLES))).astype(np.float32)
    values[random.random(values.shape) >= share] = np.nan
    values[random.random(rows) < 0.05] = np.nan
    values[:, INDEX["Lactate"]] = np.where(random.random(rows) < 0.01, 2.0, np.nan)
    stay = np.repeat(np.arange(stays), lengths)
    hour = np.arange(rows) - starts[stay] + 1 + random.integers(0, 6, stays)[stay]
    of_stay = [
        random.uniform(18, 89, stays),
        random.integers(0, 2, stays),
        random.uniform(-99, 0, stays),
        random.choice([1, 2, np.nan], stays),
    ]
    return Panel(values, starts, hour, *(column.astype(np.float32)[stay] for column in of_stay))


def with_outcome(stays: int, seed: int, longest: int = 60) -> LearningSet:
    """Made-up stays of which every third turns septic, heart rate and lactate rising before: something to learn."""
    panel = made_up(stays, seed, longest)
    random, values = np.random.default_rng(seed + 1), panel.values.copy()
    labels = np.zeros(panel.rows, dtype=bool)
    for number in range(0, panel.stays, 3):
        first, last = int(panel.starts[number]), int(panel.starts[number + 1])
        onset = int(random.integers(first, last))
        labels[onset:last] = True
        begun = max(first, onset - 8)
        values[begun:last, INDEX["HR"]] = 150 + random.integers(0, 30, last - begun)
        values[begun:last:4, INDEX["Lactate"]] = 6.0
    patients = np.array([f"p{number:05d}" for number in range(panel.stays)])
    return LearningSet(with_values(panel, values), labels, patients, f"made up {seed}")


SMALL = Recipe(members=2, trees=12, leaves=5, least_rows=5, l2=1.0, keep_every=2, bins=31)
"""Enough to learn made-up stays, in a second."""


def psv_text(learning: LearningSet, stay: int, hours: int | None = None) -> str:
    """A stay as the challenge writes it, its first `hours` hours."""
    panel, first = learning.panel, int(learning.panel.starts[stay])
    last = int(panel.starts[stay + 1]) if hours is None else first + hours
    lines = ["|".join((*NAMES, *CONTEXT_COLUMNS, LABEL))]
    for row in range(first, last):
        values = [value / variable.factor for value, variable in zip(panel.values[row], VARIABLES, strict=True)]
        units = [float(panel.unit[row] == kind) if panel.unit[row] > 0 else np.nan for kind in (MEDICAL, SURGICAL)]
        rest = [panel.age[row], panel.sex[row], *units, panel.admission_h[row], panel.hour[row], learning.labels[row]]
        lines.append("|".join("NaN" if np.isnan(value) else repr(float(value)) for value in (*values, *rest)))
    return "\n".join(lines) + "\n"
