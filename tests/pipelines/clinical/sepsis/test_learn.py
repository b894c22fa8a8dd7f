"""Training: the same twice, and judged by what it has not seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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


class Killed(BaseException):
    """The process is no more: what would have tidied up does not run."""


def other_than(model: ModelFiles) -> ModelFiles:
    made = {"name", "version", "digests", "threshold", "features", "window_h", "code"}
    about = {name: value for name, value in model.metadata.items() if name not in made}
    return model_files.assemble(model.text, model.onnx, model.calibration, model.threshold / 2, about)


ACTS = ("mkdir", "write_bytes", "rename", "replace", "rmdir")
"""What writes: a folder of its own, five files, one renaming, five moves, the empty folder."""
STEPS = 1 + 5 + 1 + 5 + 1


def struck_at(step: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the process end at this act on a path, a file half written by then."""
    left = [step]

    def struck(act: str) -> Callable[..., Any]:
        real = getattr(Path, act)

        def acting(path: Path, *given: Any, **named: Any) -> Any:
            if act != "mkdir" or not path.exists():
                left[0] -= 1
            if left[0] == -1:
                if act == "write_bytes":
                    real(path, given[0][: len(given[0]) // 2])
                raise error
            return real(path, *given, **named)

        return acting

    for act in ACTS:
        monkeypatch.setattr(Path, act, struck(act))
    if isinstance(error, Killed):
        monkeypatch.setattr(model_files.shutil, "rmtree", lambda *given, **named: None)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_writer_killed_at_any_step_leaves_one_of_two_models_whole(
    step: int, made: tuple[ModelFiles, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, page = made
    after = other_than(before)
    model_files.write(tmp_path / "before", before, page)
    model_files.write(tmp_path / "after", after, "another page")
    digests = {version.version: model_files.folder_digest(tmp_path / name)
               for name, version in (("before", before), ("after", after))}  # fmt: skip
    folder = tmp_path / "model"
    model_files.write(folder, before, page)
    (folder / "beside.npz").write_bytes(b"no file of the model")
    with monkeypatch.context() as patched:
        struck_at(step, patched, Killed())
        with pytest.raises(Killed):
            model_files.write(folder, after, "another page")
    found = model_files.read(folder)
    assert found == (before if step <= 6 else after)
    assert model_files.folder_digest(folder) == digests[found.version], "the page is that model's as well"
    assert model_files.is_free(folder)
    model_files.write(folder, before, page)
    assert model_files.read(folder) == before
    assert {each.name for each in folder.iterdir()} == {*model_files.FILES, "beside.npz"}


@pytest.mark.parametrize("step", range(STEPS))
def test_a_folder_whose_first_model_was_being_written_takes_another(
    step: int, made: tuple[ModelFiles, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, page = made
    tmp_path.joinpath("model").mkdir()
    with monkeypatch.context() as patched:
        struck_at(step, patched, Killed())
        with pytest.raises(Killed):
            model_files.write(tmp_path / "model", model, page)
    assert model_files.is_free(tmp_path / "model")
    model_files.write(tmp_path / "model", model, page)
    assert model_files.read(tmp_path / "model") == model


def test_a_full_disk_leaves_the_model_of_before_and_nothing_beside_it(
    made: tuple[ModelFiles, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, page = made
    model_files.write(tmp_path, model, page)
    with monkeypatch.context() as patched:
        struck_at(3, patched, OSError("no space left"))
        with pytest.raises(OSError, match="no space"):
            model_files.write(tmp_path, other_than(model), page)
    assert model_files.read(tmp_path) == model
    assert {each.name for each in tmp_path.iterdir()} == set(model_files.FILES)


def test_who_reads_while_another_model_is_written_gets_one_of_them_whole(
    made: tuple[ModelFiles, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, page = made
    after, content = other_than(before), model_files._content
    for n in range(6):
        model_files.write(tmp_path, before, page)
        asked: list[str] = []

        def reading(folder: Path, name: str, nth: int = n, asked: list[str] = asked) -> bytes:
            asked.append(name)
            if len(asked) == nth + 1:
                model_files.write(folder, after, page)
            return content(folder, name)

        with monkeypatch.context() as patched:
            patched.setattr(model_files, "_content", reading)
            assert model_files.read(tmp_path) == after


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
