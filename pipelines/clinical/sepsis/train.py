"""Training the sepsis model, and judging the recipe on stays that had no part in it.

Holds: the recipe, folds by patient, the ensemble, its threshold and calibration, and nested cross-validation.
Does not hold: measures (`evaluate`), files (`model_files`), the features.

A row is worth what the challenge pays for an alert in it over silence (`utility.gains`): the trees learn whether that
is above zero, weighted by how far. Utility adds up over rows, so the best decision is a threshold.

An ensemble deals its stays into as many parts as it has members; each member learns from all parts but one, and scores
that one. On these scores, of stays a member never saw, threshold and calibration are fixed. So whatever is judged on a
fold was fixed without it: trees, threshold, calibration, and the clock it is held against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import lightgbm as lgb
import numpy as np

from pipelines.clinical.sepsis import calibrate, trees
from pipelines.clinical.sepsis.calibrate import Calibration
from pipelines.clinical.sepsis.features import FEATURES
from pipelines.clinical.sepsis.panel import Floats, Integers, rows_of
from pipelines.clinical.sepsis.utility import FALSE_ALARM, Bools, Doubles, gains, utility_by_threshold

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is made; the same recipe, seed and stays give the same bytes.

    Attributes:
        members: models of the ensemble, each taught without another part of the stays.
        trees, leaves, learning_rate: of each member.
        least_rows: rows (of those kept) in a leaf at least.
        l2: pulls leaves to zero, in weighted rows.
        columns: share of the features a tree may look at; rows: share of the rows it is grown on.
        keep_every: of hours in which an alert is merely a false one, every so-manieth is learnt from, with so many
            times its weight: neighbouring hours say nearly the same. Members keep different ones.
        bins: values a feature is told apart by.
        give_up: share of the best utility that may be given up for fewer alerts when the threshold is fixed.
    """

    members: int = 8
    trees: int = 100
    leaves: int = 15
    learning_rate: float = 0.1
    least_rows: int = 200
    l2: float = 50.0
    columns: float = 0.5
    rows: float = 0.6
    keep_every: int = 6
    bins: int = 127
    give_up: float = 0.0

    def parameters(self, seed: int, threads: int) -> dict[str, int | float | str | bool]:
        """LightGBM's words for it."""
        return {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.least_rows,
            "lambda_l2": self.l2,
            "feature_fraction": self.columns,
            "bagging_fraction": self.rows,
            "bagging_freq": 1,
            "max_bin": self.bins,
            "bin_construct_sample_cnt": 50_000,
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_col_wise": True,
            "verbose": -1,
        }


@dataclass(frozen=True, slots=True)
class Learned:
    """What there is to learn from: rows with their features, labels, and the stays they belong to.

    Attributes:
        features: float32[n, F].
        labels: bool[n].
        starts: int64[stays + 1].
        hour: int64[n].
    """

    features: Floats
    labels: Bools
    starts: Integers
    hour: Integers

    @property
    def stays(self) -> int:
        return len(self.starts) - 1

    def septic(self) -> Bools:
        """bool[stays]: whether a stay has a labelled hour."""
        return np.maximum.reduceat(self.labels, self.starts[:-1])


@dataclass(frozen=True, slots=True)
class Fitted:
    """An ensemble: one model file, the least score that alerts, the risk of a score, and the clock's own threshold."""

    text: str
    threshold: float
    calibration: Calibration
    clock_h: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What each row was given by an ensemble that had not seen its stay.

    Attributes:
        fold: int64[stays].
        scores, risks: float64[n].
        alerts: bool[n]; clock_alerts: bool[n], of the hour alone.
        thresholds: of each fold.
    """

    fold: Integers
    scores: Doubles
    risks: Doubles
    alerts: Bools
    clock_alerts: Bools
    thresholds: tuple[float, ...]


def deal(septic: Bools, parts: int, seed: int) -> Integers:
    """int64[stays]: a part for each stay, septic ones and others dealt out evenly. A stay is never parted."""
    random = np.random.default_rng(seed)
    part = np.empty(len(septic), dtype=np.int64)
    for group in (np.flatnonzero(septic), np.flatnonzero(~septic)):
        part[random.permutation(group)] = np.arange(len(group)) % parts
    return part


def judge(learned: Learned, recipe: Recipe, folds: int, folds_seed: int, threads: int, progress: Progress) -> Judged:
    """Nested cross-validation over `folds` folds of stays."""
    fold = deal(learned.septic(), folds, folds_seed)
    rows = len(learned.labels)
    scores, risks = np.empty(rows), np.empty(rows)
    alerts, clock = np.empty(rows, dtype=bool), np.empty(rows, dtype=bool)
    thresholds = []
    for number in range(folds):
        progress(f"fold {number + 1} of {folds}")
        fitted = fit(learned, np.flatnonzero(fold != number), recipe, folds_seed * folds + number, threads, progress)
        held = rows_of(learned.starts, np.flatnonzero(fold == number))
        scores[held] = predict(fitted.text, learned.features[held], threads)
        risks[held] = fitted.calibration.risk(scores[held])
        alerts[held] = scores[held] >= fitted.threshold
        clock[held] = learned.hour[held] >= fitted.clock_h
        thresholds.append(fitted.threshold)
    return Judged(fold, scores, risks, alerts, clock, tuple(thresholds))


def fit(learned: Learned, stays: Integers, recipe: Recipe, seed: int, threads: int, progress: Progress) -> Fitted:
    """The ensemble of these stays. Raises `ValueError` where they are too few to fix a threshold on."""
    septic = learned.septic()[stays]
    if septic.sum() < recipe.members or (~septic).sum() < recipe.members:
        raise ValueError(f"at least {recipe.members} stays with sepsis and as many without are needed")
    part = deal(septic, recipe.members, seed)
    gain = gains(learned.labels, learned.starts)
    scores = np.full(len(learned.labels), np.nan)
    texts = []
    for member in range(recipe.members):
        rows = _rows_to_learn(learned, stays[part != member], gain, recipe, member)
        texts.append(_fit_member(learned, rows, gain, recipe, seed * recipe.members + member, threads))
        held = rows_of(learned.starts, stays[part == member])
        scores[held] = predict(texts[-1], learned.features[held], threads)
        progress(f"  member {member + 1} of {recipe.members}: {len(rows):,} rows learnt from")
    seen = rows_of(learned.starts, stays)
    return Fitted(
        text=trees.join(texts),
        threshold=best_threshold(gain[seen], scores[seen], recipe.give_up),
        calibration=calibrate.fit(scores[seen], learned.labels[seen]),
        clock_h=int(best_threshold(gain[seen], learned.hour[seen].astype(np.float64), 0.0)),
    )


def best_threshold(gain: Doubles, scores: Doubles, give_up: float) -> float:
    """The greatest score from which on alerts gain at least (1 - `give_up`) of the most that any threshold gains;
    rounded down to float32, in which scores come."""
    thresholds, summed = utility_by_threshold(gain, scores)
    enough = np.flatnonzero(summed >= summed.max() - give_up * abs(summed.max()))
    return float(trees.round_down(thresholds[enough[:1]])[0])


def predict(text: str, features: Floats, threads: int) -> Doubles:
    """float64[n] in (0, 1): the scores of a model file."""
    booster = lgb.Booster(model_str=text)
    return np.asarray(booster.predict(features, num_threads=threads), dtype=np.float64)


def parameters(recipe: Recipe) -> dict[str, int | float]:
    """The recipe for a model's metadata."""
    return asdict(recipe)


def _rows_to_learn(learned: Learned, stays: Integers, gain: Doubles, recipe: Recipe, member: int) -> Integers:
    """Hours near an onset, and of the others every `keep_every`-th; none that nothing hangs on (long after onset)."""
    rows = np.sort(rows_of(learned.starts, stays))
    thinned = (rows + member) % recipe.keep_every == 0
    return rows[(gain[rows] != 0) & (thinned | ~_merely_false(gain[rows]))]


def _merely_false(gain: Doubles) -> Bools:
    """Hours in which silence costs nothing and an alert the least that a false one does."""
    return np.isclose(gain, FALSE_ALARM)


def _fit_member(learned: Learned, rows: Integers, gain: Doubles, recipe: Recipe, seed: int, threads: int) -> str:
    times = np.where(_merely_false(gain[rows]), recipe.keep_every, 1)
    settings = recipe.parameters(seed, threads)
    data = lgb.Dataset(
        learned.features[rows],
        label=(gain[rows] > 0).astype(np.int32),
        weight=np.abs(gain[rows]) * times,
        feature_name=list(FEATURES),
        params=settings,
    )
    return lgb.train(settings, data, num_boost_round=recipe.trees).model_to_string(num_iteration=-1)
