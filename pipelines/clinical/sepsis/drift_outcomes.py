"""Whether a model is still as good as it was judged, once outcomes are known.

Holds: what discrimination and calibration were worth on stays with an outcome, beside what the model's card says. Pure.
Does not hold: which stays these are, scoring (`promotion.py`), changes from stay to stay (`drift_monitors.py`).

A stay counts once: spreads are those of sums over stays, since hours of a stay rise and fall together. What has too few
septic stays is not judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from pipelines.clinical.sepsis.drift import FALSE_ALARM, PERFORMANCE, Cause
from pipelines.clinical.sepsis.evaluate import Outcome, calibration, of_stays, ranking

LEAST_SEPTIC = 50
LEAST_AUROC, LEAST_RATIO = 0.03, 0.25
"""The least loss of AUROC, and the least excess of seen over said or the other way, that counts."""
RESAMPLES = 200
EVERYWHERE = "all stays"


@dataclass(frozen=True, slots=True)
class Performance:
    """What outcomes said.

    Attributes:
        stays, septic_stays: with an outcome. judged: whether they suffice.
        auroc, auroc_then: of these stays, and of the card; None where unknown.
        seen, said: share of hours within the window before sepsis, and the mean risk that was said.
        causes: what is worse for certain.
    """

    stays: int
    septic_stays: int
    judged: bool
    auroc: float | None = None
    auroc_then: float | None = None
    seen: float | None = None
    said: float | None = None
    causes: tuple[Cause, ...] = ()


def performance(outcome: Outcome, then: Mapping[str, Any], seed: int) -> Performance:
    """Judge a model's word on stays with an outcome. `then`: the measures of its card (`figures["all"]`)."""
    first = outcome.starts[:-1]
    stays, septic = len(first), int(np.maximum.reduceat(outcome.labels, first).sum())
    if septic < LEAST_SEPTIC:
        return Performance(stays, septic, judged=False)
    auroc, known = ranking(outcome)["auroc"], then.get("auroc")
    figures = calibration(outcome)
    causes = (*_worse_ranking(outcome, auroc, known, seed), *_worse_calibration(outcome))
    return Performance(stays, septic, True, auroc, known, figures["observed"], figures["mean_risk"], causes)


def _worse_ranking(outcome: Outcome, auroc: float | None, then: float | None, seed: int) -> list[Cause]:
    if auroc is None or then is None or then - auroc < LEAST_AUROC:
        return []
    random, stays = np.random.default_rng(seed), len(outcome.starts) - 1
    drawn = (ranking(of_stays(outcome, random.integers(0, stays, stays)))["auroc"] for _ in range(RESAMPLES))
    spread = float(np.std([each for each in drawn if each is not None]))
    if auroc + float(special.ndtri(1 - FALSE_ALARM)) * spread >= then:
        return []
    because = f"AUROC {auroc:.3f} on {stays} stays with an outcome, {then:.3f} when it was judged (spread {spread:.3f})"
    return [Cause(PERFORMANCE, ("auroc",), EVERYWHERE, then - auroc, because)]


def _worse_calibration(outcome: Outcome) -> list[Cause]:
    """Sums over stays of seen less said, by their spread; and how far the two are apart."""
    first = outcome.starts[:-1]
    seen = np.add.reduceat(outcome.labels.astype(np.float64), first)
    said = np.add.reduceat(outcome.risks, first)
    ratio = float(seen.sum() / max(said.sum(), 1e-12))
    spread = float(np.sqrt(((seen - said) ** 2).sum()))
    p = float(2 * special.ndtr(-abs(float(seen.sum() - said.sum())) / spread)) if spread > 0 else 1.0
    if p > FALSE_ALARM or 1 / (1 + LEAST_RATIO) <= ratio <= 1 + LEAST_RATIO:
        return []
    because = f"{ratio:.2f} hours near sepsis are seen for each that is said (p {p:.1g}, {len(first)} stays)"
    return [Cause(PERFORMANCE, ("calibration",), EVERYWHERE, abs(ratio - 1), because)]
