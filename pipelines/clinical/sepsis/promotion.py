"""A model's word on stays with an outcome: what the gate compares, and calibration made anew from outcomes.

Holds: scoring of labelled hours, and a model with another calibration, beside what that says of stays it was not fitted
to.
Does not hold: the gate (`gate.py`), training, the register.

What judges a calibration was not fitted to either: of the stays it is fitted to each fifth is told the risks of a curve
through the other four; the stays set aside are told those of the curve that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.clinical.sepsis import calibrate
from pipelines.clinical.sepsis.calibrate import Calibration
from pipelines.clinical.sepsis.evaluate import Outcome, calibration
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles, assemble
from pipelines.clinical.sepsis.panel import Integers, Panel, rows_of
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.train import deal
from pipelines.clinical.sepsis.utility import Bools

LEAST_OUTCOMES, LEAST_FITTED = 500, 300
"""Stays with an outcome that a new calibration rests on at least, and those of them that it may be fitted to; the
others only judge it."""
FOLDS, SEED = 5, 0
_MADE = ("name", "version", "digests", "threshold", "features", "window_h", "code")


class TooFewOutcomesError(ValueError):
    """Not enough stays with an outcome for a calibration. Says how many there are."""


@dataclass(frozen=True, slots=True)
class Recalibrated:
    """A model with a new calibration, and what it and the one it comes from say of stays they were not fitted to."""

    model: ModelFiles
    before: Outcome
    after: Outcome


def outcome_of(model: ModelFiles, panel: Panel, labels: Bools) -> Outcome:
    """What a model says of every hour, beside what came of it."""
    said = OnnxModel(model).score_panel(panel)
    return Outcome(labels, panel.starts, said.score.astype(np.float64), said.risk, said.alert)


def recalibrated(model: ModelFiles, given: LearningSet, aside: Bools, about: Mapping[str, Any]) -> Recalibrated:
    """The same trees and threshold with risks fitted to outcomes: another version.

    `given`: stays the model did not learn from; `aside`: bool[stays], those that no model is fitted to. Raises
    `TooFewOutcomesError`.
    """
    stays, fitted = given.panel.stays, np.flatnonzero(~aside)
    if stays < LEAST_OUTCOMES or len(fitted) < LEAST_FITTED:
        raise TooFewOutcomesError(
            f"{stays} stays that the model did not learn from have an outcome, {len(fitted)} of them may be fitted to; "
            f"a calibration rests on {LEAST_OUTCOMES} at least, fitted to {LEAST_FITTED}"
        )
    before = outcome_of(model, given.panel, given.labels)
    curve = _curve(before, fitted)
    risks = curve.risk(before.scores)
    septic = np.maximum.reduceat(given.labels, given.panel.starts[:-1])
    fold = deal(septic[fitted], FOLDS, SEED)
    for number in range(FOLDS):
        held = rows_of(given.panel.starts, fitted[fold == number])
        risks[held] = _curve(before, fitted[fold != number]).risk(before.scores[held])
    after = replace(before, risks=risks)
    told = {
        "of": model.version,
        "stays": stays,
        "septic_stays": int(septic.sum()),
        "fitted_to": len(fitted),
        "digest": given.digest,
        "before": calibration(before),
        "after": calibration(after),
        **about,
    }
    return Recalibrated(_with_calibration(model, curve, told), before, after)


def _curve(outcome: Outcome, stays: Integers) -> Calibration:
    rows = rows_of(outcome.starts, stays)
    return calibrate.fit(outcome.scores[rows], outcome.labels[rows])


def _with_calibration(model: ModelFiles, curve: Calibration, told: Mapping[str, Any]) -> ModelFiles:
    kept = {name: value for name, value in model.metadata.items() if name not in _MADE}
    return assemble(model.text, model.onnx, curve, model.threshold, {**kept, "recalibrated": dict(told)})
