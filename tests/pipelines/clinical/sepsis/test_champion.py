"""The model that ships: small, whole, with its figures and their source."""

from __future__ import annotations

import numpy as np

from pipelines.clinical.sepsis import card, model_files, train
from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.model_files import CARD, CHAMPION
from pipelines.clinical.sepsis.score import OnnxModel
from tests.pipelines.clinical.sepsis.stays import made_up


def test_it_is_below_two_megabytes_and_untouched() -> None:
    assert sum(path.stat().st_size for path in CHAMPION.iterdir()) < 2_000_000
    assert model_files.champion().version == model_files.read(CHAMPION).version


def test_it_names_its_source_its_folds_and_the_clock() -> None:
    about = model_files.champion().metadata
    assert "PhysioNet" in about["learning_set"]["source"]
    assert "CC BY 4.0" in about["learning_set"]["licence"]
    assert about["learning_set"]["stays"] == 20_336
    assert about["figures"]["all"]["utility"] > about["figures"]["clock"]["utility"]


def test_its_page_is_made_of_its_metadata() -> None:
    assert (CHAMPION / CARD).read_text() == card.page(model_files.champion())


def test_onnx_scores_are_those_of_its_trees() -> None:
    champion, rows = model_files.champion(), features(made_up(80, 21))
    np.testing.assert_allclose(
        OnnxModel(champion).scores(rows), train.predict(champion.text, rows, 1), atol=2e-6, rtol=0
    )


def test_its_scores_are_the_same_bits_alone_and_in_company() -> None:
    champion, rows = OnnxModel(model_files.champion()), features(made_up(12, 22))
    alone = np.concatenate([champion.scores(rows[at : at + 1]) for at in range(len(rows))])
    assert alone.tobytes() == champion.scores(rows).tobytes()
