"""Whether a model is still as good as its card says, stay by stay; changes along the stream of scores and errors."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.clinical.sepsis.drift import PERFORMANCE, SCORE_CHANGE
from pipelines.clinical.sepsis.drift_monitors import ERRORS, MOST, SCORES, Change, Stretch, causes, lead_on
from pipelines.clinical.sepsis.drift_outcomes import performance
from pipelines.clinical.sepsis.evaluate import Outcome, ranking

STAYS, HOURS = 600, 20


def outcome(seed: int, tells: float = 2.0, said: float = 1.0, stays: int = STAYS) -> Outcome:
    """Stays of which one in four is septic in its last hours. `tells`: how far scores rise then; `said`: the risk that
    is said for each that is true."""
    random = np.random.default_rng(seed)
    septic = np.repeat(np.arange(stays) % 4 == 0, HOURS)
    labels = septic & (np.tile(np.arange(HOURS), stays) >= 14)
    margin = np.repeat(random.normal(0, 0.6, stays), HOURS) + random.normal(0, 0.6, len(labels)) + tells * labels
    chance = 1 / (1 + np.exp(-(1.8 * margin - 4.2)))
    risk = np.clip(chance * labels.mean() / chance.mean() * said, 0, 1)
    return Outcome(labels, np.arange(0, len(labels) + 1, HOURS), margin, risk, margin > 1.5)


CARD = {"auroc": ranking(outcome(0))["auroc"]}


def test_a_model_as_good_as_its_card_raises_nothing() -> None:
    for seed in range(1, 9):
        found = performance(outcome(seed), CARD, 0)
        assert found.judged
        assert found.causes == ()


def test_a_model_that_ranks_worse_asks_for_a_retraining() -> None:
    (cause,) = (each for each in performance(outcome(20, tells=0.9), CARD, 0).causes if each.items == ("auroc",))
    assert (cause.kind, cause.retrains) == (PERFORMANCE, True)


@pytest.mark.parametrize("said", [0.5, 2.0])
def test_risks_that_are_too_low_or_too_high_ask_for_a_retraining(said: float) -> None:
    (cause,) = performance(outcome(21, said=said), CARD, 0).causes
    assert (cause.kind, cause.items) == (PERFORMANCE, ("calibration",))


def test_few_septic_stays_are_not_judged() -> None:
    found = performance(outcome(22, tells=0.2, stays=160), CARD, 0)
    assert (found.judged, found.septic_stays, found.causes) == (False, 40, ())


def numbers(seed: int, mean: float, many: int) -> list[float]:
    return np.random.default_rng(seed).gamma(2.0, mean / 2, many).tolist()


def test_stays_of_one_kind_are_no_change_however_they_are_cut_into_days() -> None:
    values, stretch = numbers(1, 0.03, 1500), Stretch()
    for at in range(0, len(values), 100):
        stretch, changes = lead_on(stretch, values[at : at + 100])
        assert changes == ()
    assert stretch == Stretch(tuple(values), len(values))


def test_a_mean_that_doubles_is_found_and_the_stretch_begins_anew() -> None:
    stretch, _ = lead_on(Stretch(), numbers(2, 0.03, 600))
    stretch, (change,) = lead_on(stretch, numbers(3, 0.06, 600))
    assert (change.before, change.after) == pytest.approx((0.03, 0.06), rel=0.2)
    assert 560 <= len(stretch.values) <= 640
    assert stretch.stays == 1200


@pytest.mark.parametrize("a_look", [1, 7, 20, 23, 32, 100])
@pytest.mark.parametrize("before", [600, MOST])
@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_change_is_told_by_one_look_however_many_stays_a_look_brings(a_look: int, before: int, factor: float) -> None:
    stretch, told = Stretch(tuple(numbers(4, 0.03, before)), before), []
    values = [value * factor for value in numbers(5, 0.03, 800)]
    for at in range(0, len(values), a_look):
        stretch, changes = lead_on(stretch, values[at : at + a_look])
        told += causes(SCORES, changes)
    assert [cause.kind for cause in told] == [SCORE_CHANGE]
    assert len(stretch.values) <= 840


def test_a_change_that_lay_in_the_stretch_untold_is_found_with_the_next_stay() -> None:
    stretch = Stretch(tuple(numbers(6, 0.03, 2500) + numbers(7, 0.06, 2500)), 5000)
    stretch, (change,) = lead_on(stretch, [0.06])
    assert (change.stays_before, change.stays_after) == pytest.approx((2500, 2501), abs=50)
    assert lead_on(stretch, [0.06])[1] == ()


def test_stays_of_one_kind_are_no_change_beyond_the_longest_stretch() -> None:
    stretch = Stretch(tuple(numbers(8, 0.03, MOST)), MOST)
    for seed in range(9, 60):
        stretch, changes = lead_on(stretch, numbers(seed, 0.03, 20))
        assert changes == ()
    assert len(stretch.values) == MOST


def test_errors_that_grow_retrain_scores_that_move_do_not_and_errors_that_shrink_are_none() -> None:
    worse, better = Change(0.02, 0.05, 300, 300), Change(0.05, 0.02, 300, 300)
    assert [(each.kind, each.retrains) for each in causes(ERRORS, [worse])] == [(PERFORMANCE, True)]
    assert causes(ERRORS, [better]) == ()
    for change in (worse, better):
        assert [(each.kind, each.retrains) for each in causes(SCORES, [change])] == [(SCORE_CHANGE, False)]
    assert causes(SCORES, [Change(0.02, 0.0201, 9000, 9000)]) == ()
