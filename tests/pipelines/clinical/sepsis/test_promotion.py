"""Calibration made anew from outcomes: truer risks, the same alerts, judged by what it was not fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.clinical.sepsis import card
from pipelines.clinical.sepsis.evaluate import calibration
from pipelines.clinical.sepsis.gate import decide
from pipelines.clinical.sepsis.learning_set import LearningSet
from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.promotion import TooFewOutcomesError, outcome_of, recalibrated
from tests.pipelines.clinical.sepsis.stays import with_outcome


def with_fewer_septic(stays: int) -> LearningSet:
    """Stays as the model knows them, of which half of the septic were not: its risks are too high for them."""
    given = with_outcome(stays, seed=40, longest=30)
    labels = given.labels.copy()
    for number in range(0, stays, 6):
        labels[given.panel.starts[number] : given.panel.starts[number + 1]] = False
    return replace(given, labels=labels)


@pytest.fixture(scope="module")
def elsewhere() -> LearningSet:
    return with_fewer_septic(600)


ASIDE = np.arange(600) % 5 == 0


def test_below_500_outcomes_it_refuses_and_says_how_many_there_are(model: ModelFiles) -> None:
    with pytest.raises(TooFewOutcomesError, match="499 stays"):
        recalibrated(model, with_fewer_septic(499), np.zeros(499, bool), {})


def test_most_of_them_may_not_be_set_aside(model: ModelFiles, elsewhere: LearningSet) -> None:
    with pytest.raises(TooFewOutcomesError, match="299 of them"):
        recalibrated(model, elsewhere, np.arange(600) >= 299, {})


def test_risks_become_truer_for_certain_and_alerts_stay(model: ModelFiles, elsewhere: LearningSet) -> None:
    made = recalibrated(model, elsewhere, ASIDE, {})
    before, after = calibration(made.before), calibration(made.after)
    assert after["calibration_error"] < before["calibration_error"] / 2
    assert after["brier"] < before["brier"]
    assert decide(made.before, made.after, {}, seed=0).promote
    assert (made.model.text, made.model.threshold) == (model.text, model.threshold)
    assert np.array_equal(made.before.alerts, made.after.alerts)
    assert made.model.version != model.version
    assert made.model.metadata["recalibrated"]["of"] == model.version


def test_where_risks_are_true_the_gate_lets_them_be(model: ModelFiles, elsewhere: LearningSet) -> None:
    made = recalibrated(model, elsewhere, ASIDE, {})
    again = recalibrated(made.model, with_fewer_septic(600), ASIDE, {})
    assert not decide(again.before, again.after, {}, seed=0).promote


def test_a_stay_is_judged_by_a_curve_that_did_not_see_it(model: ModelFiles, elsewhere: LearningSet) -> None:
    """Whatever became of the judged stays, their own risks come out the same."""
    made = recalibrated(model, elsewhere, ASIDE, {})
    for stay in (0, 3, 9, 593):
        hours = slice(int(elsewhere.panel.starts[stay]), int(elsewhere.panel.starts[stay + 1]))
        labels = elsewhere.labels.copy()
        # Septic from the first hour on: another outcome, and still a septic stay where it was one.
        labels[hours] = labels[hours].any()
        other = recalibrated(model, replace(elsewhere, labels=labels), ASIDE, {})
        assert np.array_equal(made.after.risks[hours], other.after.risks[hours])


def test_stays_set_aside_have_no_say_in_it(model: ModelFiles, elsewhere: LearningSet) -> None:
    labels = elsewhere.labels & ~np.repeat(ASIDE, np.diff(elsewhere.panel.starts))
    other = recalibrated(model, replace(elsewhere, labels=labels), ASIDE, {})
    assert other.model.version == recalibrated(model, elsewhere, ASIDE, {}).model.version


def test_the_kept_model_says_what_was_judged_of_stays_set_aside(model: ModelFiles, elsewhere: LearningSet) -> None:
    made = recalibrated(model, elsewhere, ASIDE, {})
    said = outcome_of(made.model, elsewhere.panel, elsewhere.labels).risks
    hours = np.repeat(ASIDE, np.diff(elsewhere.panel.starts))
    assert np.array_equal(said[hours], made.after.risks[hours])


def test_its_page_says_that_and_from_what(model: ModelFiles, elsewhere: LearningSet) -> None:
    page = card.page(recalibrated(model, elsewhere, ASIDE, {}).model)
    assert "Calibrated anew" in page
    assert "fitted to 480 of 600 stays" in page
    assert "Calibrated anew" not in card.page(model)
