"""One small model for all tests of this folder."""

from __future__ import annotations

import pytest

from pipelines.clinical.sepsis.learn import learn
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles
from tests.pipelines.clinical.sepsis.stays import SMALL, with_outcome


@pytest.fixture(scope="session")
def learning() -> LearningSet:
    return with_outcome(60, seed=1)


@pytest.fixture(scope="session")
def made(learning: LearningSet) -> tuple[ModelFiles, str]:
    """A model of `SMALL` with its page."""
    return learn(learning, SMALL, 3, 1, lambda line: None, {"source": "made-up stays"})


@pytest.fixture(scope="session")
def model(made: tuple[ModelFiles, str]) -> ModelFiles:
    return made[0]
