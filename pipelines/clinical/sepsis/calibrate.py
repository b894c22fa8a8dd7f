"""From a score to a risk: the chance that this hour is one within six hours of sepsis, or after its onset.

Holds: a rising curve fitted to scores of stays the model did not learn from, and its use.
Does not hold: the score, thresholds, plots.

The risk is that of the learning set's hospital. Elsewhere it is to be fitted anew before anybody reads it as a chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.utility import Bools, Doubles

LEAST_IN_A_STEP = 300
"""Hours that a step of the curve rests on at least."""
MOST_STEPS = 60
_RISE = 1e-9  # keeps equal neighbours apart, so that a risk ranks as its score does


@dataclass(frozen=True, slots=True)
class Calibration:
    """Straight lines between knots: `scores` and `risks` rise strictly, from 0 to 1 on the side of scores."""

    scores: tuple[float, ...]
    risks: tuple[float, ...]

    def risk(self, scores: NDArray[np.floating]) -> Doubles:
        """float64[n] in [0, 1]."""
        return np.interp(scores, self.scores, self.risks)

    def as_json(self) -> dict[str, list[float]]:
        return {"scores": list(self.scores), "risks": list(self.risks)}


def from_json(kept: Mapping[str, list[float]]) -> Calibration:
    """What `as_json` gave."""
    return Calibration(tuple(kept["scores"]), tuple(kept["risks"]))


def fit(scores: Doubles, labels: Bools) -> Calibration:
    """The rising curve through the share of labelled hours by score (pool adjacent violators over quantile steps)."""
    parts = _steps(scores)
    means = np.array([scores[part].mean() for part in parts])
    shares = _rising(np.array([labels[part].mean() for part in parts]), np.array([len(part) for part in parts]))
    return _curve(means, shares)


def _steps(scores: Doubles) -> list[NDArray[np.intp]]:
    """The hours of each step, by rising score. Equal scores stay together: which of their hours comes first means
    nothing, and the curve has one risk for them."""
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    steps = max(1, min(MOST_STEPS, len(scores) // LEAST_IN_A_STEP))
    cuts = np.searchsorted(rising, rising[np.arange(1, steps) * len(scores) // steps])
    return np.split(order, np.unique(cuts[cuts > 0]))


def _rising(values: Doubles, weights: NDArray[np.int64]) -> Doubles:
    """The nearest (weighted squares) sequence that never falls."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pool = (float(value), float(weight), 1)
        while pools and pools[-1][0] >= pool[0]:
            mean, heavy, many = pools.pop()
            total = heavy + pool[1]
            pool = ((mean * heavy + pool[0] * pool[1]) / total, total, many + pool[2])
        pools.append(pool)
    return np.repeat([pool[0] for pool in pools], [pool[2] for pool in pools])


def _curve(scores: Doubles, risks: Doubles) -> Calibration:
    """Knots from score 0 to score 1, one a score, rising strictly. Beyond the last step the risk stays as it was."""
    x = np.concatenate([[0.0], scores, [1.0]])
    y = np.concatenate([[risks[0]], risks, [risks[-1]]])
    keep = np.concatenate([[True], np.diff(x) > 0])
    x, y = x[keep], y[keep]
    y = np.minimum(y, 1.0 - _RISE * len(y)) + _RISE * np.arange(len(y))
    return Calibration(tuple(x.tolist()), tuple(y.tolist()))
