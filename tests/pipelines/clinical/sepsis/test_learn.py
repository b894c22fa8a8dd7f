"""Training: the same twice, and judged by what it has not seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.clinical.sepsis import model_files, train
from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.learn import learn
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles, ModelFilesError
from pipelines.clinical.sepsis.panel import rows_of
from pipelines.clinical.sepsis.train import Learned, deal, fit, judge
from tests.pipelines.clinical.sepsis.stays import SMALL


def learned(given: LearningSet, labels: np.ndarray | None = None) -> Learned:
    return Learned(
        features(given.panel), given.labels if labels is None else labels, given.panel.starts, given.panel.hour
    )


def quiet(line: str) -> None:
    return None


def test_two_runs_write_the_same_bytes(learning: LearningSet, made: tuple[ModelFiles, str], tmp_path: Path) -> None:
    again = learn(learning, SMALL, 3, 1, quiet, {"source": "made-up stays"})
    for name, (model, page) in (("one", made), ("two", again)):
        model_files.write(tmp_path / name, model, page)
    assert model_files.folder_digest(tmp_path / "one") == model_files.folder_digest(tmp_path / "two")


def test_another_seed_is_another_model(learning: LearningSet) -> None:
    given, stays = learned(learning), np.arange(learning.panel.stays)
    assert fit(given, stays, SMALL, 0, 1, quiet).text != fit(given, stays, SMALL, 1, 1, quiet).text


def test_the_folds_seed_moves_the_figures_and_not_the_model(learning: LearningSet, model: ModelFiles) -> None:
    other, _ = learn(learning, SMALL, 4, 1, quiet, {"source": "made-up stays"})
    assert other.version == model.version
    assert other.metadata["figures"]["folds"] != model.metadata["figures"]["folds"]


def test_a_fold_is_judged_as_if_its_outcome_were_not_known(learning: LearningSet) -> None:
    """Whatever the labels of the judged stays are: trees, threshold, calibration and clock come out the same."""
    whole = judge(learned(learning), SMALL, 5, 3, 1, quiet)
    held = rows_of(learning.panel.starts, np.flatnonzero(whole.fold == 0))
    turned = learning.labels.copy()
    turned[held] = False
    turned[held[-1]] = True
    stays = np.flatnonzero(whole.fold != 0)
    one, other = (fit(learned(learning, labels), stays, SMALL, 15, 1, quiet) for labels in (learning.labels, turned))
    assert one == other
    assert one.threshold == whole.thresholds[0]
    assert np.array_equal(whole.scores[held], train.predict(one.text, features(learning.panel)[held], 1))


def test_it_finds_what_was_hidden_in_the_stays(model: ModelFiles) -> None:
    figures = model.metadata["figures"]
    assert figures["all"]["auroc"] > 0.9
    assert figures["all"]["utility"] > figures["clock"]["utility"] + 0.2


def test_stays_are_dealt_whole_and_the_septic_evenly() -> None:
    septic = np.arange(103) % 5 == 0
    part = deal(septic, 5, seed=9)
    assert np.ptp(np.bincount(part)) <= 2
    assert np.ptp(np.bincount(part[septic])) <= 1
    assert not np.array_equal(part, deal(septic, 5, seed=10))


def test_too_few_stays_are_refused(learning: LearningSet) -> None:
    with pytest.raises(ValueError, match="at least 2 stays with sepsis"):
        fit(learned(learning), np.array([1, 2, 4, 5]), SMALL, 0, 1, quiet)


def test_fewer_alerts_are_bought_by_giving_up_utility() -> None:
    gain, scores = np.array([2.0, -0.1, 0.1, 1.0, -1.0]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    assert train.best_threshold(gain, scores, 0.0) == pytest.approx(0.6)
    assert train.best_threshold(gain, scores, 0.5) == pytest.approx(0.9)


def test_a_kept_model_comes_back_and_a_changed_one_does_not(made: tuple[ModelFiles, str], tmp_path: Path) -> None:
    model, page = made
    model_files.write(tmp_path, model, page)
    assert model_files.read(tmp_path) == model
    (tmp_path / "calibration.json").write_text('{"risks": [0, 1], "scores": [0, 1]}')
    with pytest.raises(ModelFilesError, match=r"calibration\.json is not the file that was written"):
        model_files.read(tmp_path)


def test_a_threshold_changed_by_hand_is_found(made: tuple[ModelFiles, str], tmp_path: Path) -> None:
    model, page = made
    model_files.write(tmp_path, replace(model, metadata=dict(model.metadata) | {"threshold": 0.01}), page)
    with pytest.raises(ModelFilesError, match="version"):
        model_files.read(tmp_path)


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFilesError, match="no model here"):
        model_files.read(tmp_path)


def test_a_model_for_other_features_is_refused(
    made: tuple[ModelFiles, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, page = made
    model_files.write(tmp_path, model, page)
    monkeypatch.setattr(model_files, "WINDOW_H", model_files.WINDOW_H + 24)
    with pytest.raises(ModelFilesError, match="other features"):
        model_files.read(tmp_path)
