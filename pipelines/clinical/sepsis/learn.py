"""From a learning set to a model with its figures and its page: the one way that command line and Dagster go.

Holds: the order of the work, and the metadata.
Does not hold: the work (`train`, `evaluate`, `onnx_export`, `card`), files (`model_files`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.clinical.sepsis import card, evaluate, train
from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles, assemble
from pipelines.clinical.sepsis.onnx_export import to_onnx
from pipelines.clinical.sepsis.train import Judged, Learned, Progress, Recipe

FOLDS = 5
SEED = 0
"""Of the model that is kept. Folds have a seed of their own: figures are told of folds no choice was made on."""


def learn(
    given: LearningSet, recipe: Recipe, folds_seed: int, threads: int, progress: Progress, origin: Mapping[str, Any]
) -> tuple[ModelFiles, str]:
    """The model of all stays, and its page. `origin` says where the stays came from (a file, snapshots).

    Its figures are those of the recipe, nested over `FOLDS` folds dealt by `folds_seed`. Raises `ValueError` where
    there are too few stays.
    """
    progress(f"{given.panel.stays:,} stays, {given.panel.rows:,} hours")
    learned = Learned(features(given.panel), given.labels, given.panel.starts, given.panel.hour)
    judged = train.judge(learned, recipe, FOLDS, folds_seed, threads, progress)
    progress("the model of all stays")
    fitted = train.fit(learned, np.arange(learned.stays), recipe, SEED, threads, progress)
    figures = judged_figures(given, judged, folds_seed)
    about = {
        "recipe": train.parameters(recipe),
        "seed": SEED,
        "folds_seed": folds_seed,
        "learning_set": _described(given) | {"digest": given.digest, **origin},
        "clock_h": fitted.clock_h,
        "figures": figures,
    }
    model = assemble(fitted.text, to_onnx(fitted.text), fitted.calibration, fitted.threshold, about)
    return model, card.page(model)


def judged_figures(given: LearningSet, judged: Judged, seed: int) -> dict[str, Any]:
    """What the metadata keeps of cross-validation: all that the card shows."""
    outcome = Outcome(given.labels, given.panel.starts, judged.scores, judged.risks, judged.alerts)
    clock = Outcome(
        given.labels, given.panel.starts, given.panel.hour.astype(np.float64), judged.risks, judged.clock_alerts
    )
    by_fold = [evaluate.ranking(evaluate.of_stays(outcome, np.flatnonzero(judged.fold == at))) for at in range(FOLDS)]
    return {
        "all": evaluate.measures(outcome),
        "utility_interval": evaluate.interval(outcome, seed),
        "clock": evaluate.ranking(clock) | evaluate.burden(clock),
        "folds": [fold | {"threshold": threshold} for fold, threshold in zip(by_fold, judged.thresholds, strict=True)],
        "reliability": evaluate.reliability(outcome),
        "lead_times_h": np.bincount(np.array(evaluate.lead_times(outcome), int) + 3, minlength=16).tolist(),
        "burden_curve": evaluate.burden_curve(outcome),
        "clock_curve": evaluate.burden_curve(clock),
        "subgroups": evaluate.by_subgroup(outcome, evaluate.subgroups(given.panel), seed),
    }


def _described(given: LearningSet) -> dict[str, Any]:
    panel = given.panel
    first = panel.starts[:-1]
    age = panel.age[first][~np.isnan(panel.age[first])]
    return {
        "stays": panel.stays,
        "septic_stays": int(np.maximum.reduceat(given.labels, first).sum()),
        "early_onsets": given.early_onsets,
        "hours": panel.rows,
        "stay_h": np.quantile(np.diff(panel.starts), [0.25, 0.5, 0.75]).tolist(),
        "age": np.quantile(age, [0.25, 0.5, 0.75]).tolist() if len(age) else None,
        "measured": np.round(1 - np.isnan(panel.values).mean(axis=0), 4).tolist(),
    }
