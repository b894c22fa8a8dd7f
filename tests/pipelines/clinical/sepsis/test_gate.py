"""The promotion gate: for certain better or the champion stays, whoever is worse for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.clinical.sepsis.evaluate import Outcome
from pipelines.clinical.sepsis.gate import BETTER, WORSE, decide

HOURS, STAYS = 24, 600


def outcome(quality: float, seed: int = 0, flip: np.ndarray | None = None) -> Outcome:
    """Stays of 24 hours, every third septic from hour 14 on (onset at 20). Alerts are right with a chance of
    `quality` in stays, wrong otherwise; `flip`: stays in which they never are."""
    random = np.random.default_rng(seed)
    septic = np.arange(STAYS) % 3 == 0
    labels = np.repeat(septic, HOURS) & (np.tile(np.arange(HOURS), STAYS) >= 14)
    right = random.random(STAYS) < quality
    if flip is not None:
        right &= ~flip
    says = np.where(right, septic, ~septic)
    alerts = np.repeat(says, HOURS) & (np.tile(np.arange(HOURS), STAYS) >= 10)
    scores = np.where(alerts, 0.8, 0.1)
    return Outcome(labels, np.arange(STAYS + 1) * HOURS, scores, np.where(alerts, 0.4, 0.1), alerts)


def test_a_model_that_is_better_for_certain_is_promoted() -> None:
    decision = decide(outcome(0.6), outcome(0.9, seed=1), {}, seed=0)
    assert decision.promote
    assert decision.checks[0].verdict == BETTER
    assert decision.checks[0].low > 0


def test_the_same_model_again_is_not_promoted() -> None:
    decision = decide(outcome(0.8), outcome(0.8), {}, seed=0)
    assert not decision.promote
    assert "nothing is better" in decision.reason


def test_luck_is_not_promoted() -> None:
    """Models of one quality on few stays: of 12 pairs hardly one passes."""
    passed = [decide(outcome(0.7, seed=2 * n), outcome(0.7, seed=2 * n + 1), {}, seed=n).promote for n in range(12)]
    assert sum(passed) <= 1


def test_a_worse_model_stays_out_with_the_figure_that_says_so() -> None:
    decision = decide(outcome(0.9), outcome(0.6, seed=1), {}, seed=0)
    assert not decision.promote
    assert "utility -" in decision.reason


def test_a_gain_for_all_at_the_cost_of_one_group_is_refused() -> None:
    group = np.arange(STAYS) % 6 == 0  # 100 stays, all septic
    better_but = outcome(1.0, flip=group)
    assert decide(outcome(0.6), outcome(1.0), {"women": group}, seed=0).promote
    decision = decide(outcome(0.6), better_but, {"women": group}, seed=0)
    assert not decision.promote
    assert [each.verdict for each in decision.checks if each.name == "utility, women"] == [WORSE]


def test_where_no_group_could_be_judged_the_decision_says_so() -> None:
    few = np.arange(STAYS) < 30  # 10 of them septic
    decision = decide(outcome(0.6), outcome(0.9, seed=1), {"women": few}, seed=0)
    assert decision.promote
    assert "no subgroup had" in decision.reason
    assert "no subgroup is worse" not in decision.reason


def test_better_calibration_alone_is_enough() -> None:
    champion = outcome(0.8)
    challenger = replace(champion, risks=np.where(champion.labels, 0.6, 0.05))
    decision = decide(champion, challenger, {}, seed=0)
    assert decision.promote
    assert "calibration" in decision.reason


def test_too_few_outcomes_decide_nothing() -> None:
    champion, challenger = outcome(0.5), outcome(1.0)
    few = np.repeat(np.arange(STAYS) < 90, HOURS)
    cut = [
        Outcome(each.labels[few], each.starts[:91], each.scores[few], each.risks[few], each.alerts[few])
        for each in (champion, challenger)
    ]
    decision = decide(cut[0], cut[1], {}, seed=0)
    assert not decision.promote
    assert "30 septic stays" in decision.reason


def test_two_runs_decide_alike_and_different_stays_are_refused() -> None:
    first, again = (decide(outcome(0.6), outcome(0.7, seed=1), {}, seed=3) for _ in range(2))
    assert first == again
    other = outcome(0.6)
    with pytest.raises(ValueError, match="same stays"):
        decide(replace(other, labels=~other.labels), outcome(0.6), {}, seed=0)
