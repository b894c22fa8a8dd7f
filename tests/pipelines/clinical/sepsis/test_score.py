"""Scores: of ONNX what LightGBM says, the same bits alone and in company, and reasons that add up."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.clinical.sepsis import train
from pipelines.clinical.sepsis.explain import Explainer
from pipelines.clinical.sepsis.features import FEATURES, features
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.trees import feature_names, join, read_trees, round_down
from tests.pipelines.clinical.sepsis.stays import made_up


def awkward_rows(model: ModelFiles) -> np.ndarray:
    """Rows that lie on every threshold, just above it, and on its double before rounding; and all NaN, zero, huge."""
    trees = read_trees(model.text)
    thresholds = np.concatenate([tree.threshold for tree in trees]).astype(np.float32)
    read = np.concatenate([tree.feature for tree in trees])
    base = features(made_up(6, 2, 40))[:: max(1, 240 // 40)]
    rows = np.repeat(base[:1], 2 * len(read), axis=0)
    rows[np.arange(len(read)), read] = thresholds
    rows[np.arange(len(read)) + len(read), read] = np.nextafter(thresholds, np.float32(np.inf))
    flat = np.array([np.nan, 0.0, -0.0, 1e30, -1e30, np.inf], dtype=np.float32)
    return np.concatenate([base, rows, np.repeat(flat[:, None], len(FEATURES), axis=1)])


def test_onnx_scores_are_those_of_the_trees_on_every_threshold(model: ModelFiles) -> None:
    rows = awkward_rows(model)
    np.testing.assert_allclose(OnnxModel(model).scores(rows), train.predict(model.text, rows, 1), atol=2e-6, rtol=0)


def test_a_score_is_the_same_bits_alone_and_in_company(model: ModelFiles) -> None:
    rows, onnx = features(made_up(20, 8)), OnnxModel(model)
    together = onnx.scores(rows)
    assert np.concatenate([onnx.scores(rows[at : at + 1]) for at in range(0, len(rows), 7)]).tobytes() == (
        together[::7].tobytes()
    )
    assert np.concatenate([onnx.scores(rows[at : at + 33]) for at in range(0, len(rows), 33)]).tobytes() == (
        together.tobytes()
    )


def test_thresholds_are_rounded_down_to_what_features_are_kept_in() -> None:
    given = np.array([0.1, -0.1, 1 / 3, 7.0, 1e-40, 123456789.123])
    rounded = round_down(given)
    assert (rounded <= given).all()
    assert np.array_equal(rounded, rounded.astype(np.float32))
    assert (np.nextafter(rounded.astype(np.float32), np.float32(np.inf)) > given).all()


def test_a_joined_model_gives_the_mean_of_the_log_odds(learning: LearningSet) -> None:
    from tests.pipelines.clinical.sepsis.stays import SMALL

    rows = features(learning.panel)
    given = train.Learned(rows, learning.labels, learning.panel.starts, learning.panel.hour)
    texts = [
        train.fit(given, np.arange(learning.panel.stays), SMALL, seed, 1, lambda line: None).text for seed in (0, 1)
    ]
    one, other, both = (odds(train.predict(text, rows, 1)) for text in (*texts, join(texts)))
    np.testing.assert_allclose(both, (one + other) / 2, atol=1e-9)
    assert feature_names(join(texts)) == FEATURES


def test_contributions_add_up_to_the_score(model: ModelFiles) -> None:
    rows = features(made_up(3, 8))
    by_feature, shared = Explainer(model).contributions(rows)
    np.testing.assert_allclose(by_feature.sum(axis=1) + shared, odds(train.predict(model.text, rows, 1)), atol=1e-6)


def test_reasons_name_what_was_hidden_in_the_stays(model: ModelFiles, learning: LearningSet) -> None:
    rows = features(learning.panel)
    highest = rows[np.argsort(-OnnxModel(model).scores(rows))[:1]]
    (reasons,) = Explainer(model).reasons(highest)
    assert reasons[0].group in ("HR", "Lactate", "shock_index", "heart_rate_to_temperature")
    assert reasons[0].contribution >= reasons[-1].contribution > 0


def test_a_risk_ranks_as_its_score_does(model: ModelFiles, learning: LearningSet) -> None:
    scored = OnnxModel(model).score_panel(learning.panel)
    order = np.argsort(scored.score, kind="stable")
    assert (np.diff(scored.risk[order])[np.diff(scored.score[order]) > 0] > 0).all()
    assert scored.alert.any()
    assert np.array_equal(scored.alert, scored.score >= model.threshold)


def test_no_rows_have_no_scores(model: ModelFiles) -> None:
    assert len(OnnxModel(model).scores(np.empty((0, len(FEATURES)), dtype=np.float32))) == 0


def odds(scores: np.ndarray) -> np.ndarray:
    return np.log(scores) - np.log1p(-scores)


@pytest.mark.parametrize("hours", [1, 5])
def test_an_hour_is_scored_from_the_hours_up_to_it(model: ModelFiles, learning: LearningSet, hours: int) -> None:
    from tests.pipelines.clinical.sepsis.test_features import first_hours

    panel, onnx = learning.panel, OnnxModel(model)
    kept = np.minimum(np.diff(panel.starts), hours)
    rows = np.concatenate([np.arange(start, start + k) for start, k in zip(panel.starts, kept, strict=False)])
    assert onnx.score_panel(first_hours(panel, kept)).score.tobytes() == onnx.score_panel(panel).score[rows].tobytes()
