"""The challenge's utility on its known answers."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.clinical.sepsis.utility import (
    gains,
    hours_from_onset,
    normalised_utility,
    total_utility,
    utility_by_threshold,
)


def test_the_challenges_own_example() -> None:
    labels, alerts = np.array([0, 0, 0, 0, 1, 1], bool), np.array([0, 0, 1, 1, 1, 1], bool)
    assert total_utility(labels, np.array([0, 6]), alerts) == pytest.approx(3.388888888888889, abs=1e-15)


def by_the_book(labels: list[int], alerts: list[int]) -> float:
    """A stay's utility as the paper words it, hour by hour."""
    onset = labels.index(1) + 6 if 1 in labels else None
    total = 0.0
    for hour, alert in enumerate(alerts):
        if onset is None:
            total += -0.05 if alert else 0.0
        elif hour - onset <= 3:
            d = hour - onset
            if alert:
                total += max((d + 12) / 6, -0.05) if d <= -6 else (3 - d) / 9
            elif d > -6:
                total += -2 / 9 * (d + 6)
    return total


def test_any_stays_are_worth_what_the_paper_says() -> None:
    random = np.random.default_rng(3)
    labels, alerts, starts, expected = [], [], [0], 0.0
    for _ in range(200):
        length, first = int(random.integers(1, 60)), int(random.integers(0, 90))
        stay, sounded = [int(hour >= first) for hour in range(length)], random.integers(0, 2, length).tolist()
        expected += by_the_book(stay, sounded)
        labels, alerts, starts = labels + stay, alerts + sounded, [*starts, starts[-1] + length]
    got = total_utility(np.array(labels, bool), np.array(starts), np.array(alerts, bool))
    assert got == pytest.approx(expected, abs=1e-9)


def test_the_best_alerts_are_one_and_none_is_zero() -> None:
    labels, starts = np.array([0] * 20 + [1] * 10 + [0] * 15, bool), np.array([0, 30, 45])
    since = hours_from_onset(labels, starts)
    assert normalised_utility(labels, starts, (since >= -12) & (since <= 3)) == 1.0
    assert normalised_utility(labels, starts, np.zeros(45, bool)) == 0.0
    assert np.isnan(normalised_utility(labels[30:], np.array([0, 15]), np.ones(15, bool)))


def test_the_sum_at_a_threshold_is_that_of_the_alerts_it_gives() -> None:
    random = np.random.default_rng(5)
    labels, starts = np.array([0] * 30 + [1] * 10 + [0] * 60, bool), np.array([0, 40, 100])
    scores, gain = random.integers(0, 9, 100) / 10, gains(labels, starts)
    for threshold, summed in zip(*utility_by_threshold(gain, scores), strict=True):
        assert summed == pytest.approx(gain[scores >= threshold].sum())
