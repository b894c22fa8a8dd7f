"""Glucose out of range: fifteen proven minutes, gaps, hysteresis, urgent lows, and samples that come late."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.glucose import GlucoseWindows, excursion
from pipelines.clinical.rule_packs import built_in
from tests.examples import tried

LOW, HIGH = built_in().rules["glucose.low"], built_in().rules["glucose.high"]
MINUTE = 60_000
BASE = 1_800_000_000_000


def levels(told, is_low, *samples):
    """Levels after each (minute, mg/dL)."""
    at = np.array([BASE + round(minute * MINUTE) for minute, _ in samples])
    value = np.array([value for _, value in samples], float)
    return excursion(np.zeros(len(samples), np.int64), at, value, told, is_low).level.tolist()


def test_sixteen_minutes_below_alert_and_fifteen_do_not():
    assert levels(LOW, True, (0, 69), (5, 68), (10, 66), (15, 65)) == [0, 0, 0, 0]
    assert levels(LOW, True, (0, 69), (5, 68), (10, 66), (15, 65), (16, 65)) == [0, 0, 0, 0, 1]


def test_above_180_counts_alike_and_has_no_urgent_limit():
    assert levels(HIGH, False, (0, 181), (5, 250), (10, 400), (15, 200), (20, 181)) == [0, 0, 0, 0, 1]
    assert levels(HIGH, False, (0, 180), (5, 180), (10, 180), (15, 180), (20, 180)) == [0] * 5


def test_below_54_is_urgent_at_once():
    assert levels(LOW, True, (0, 54), (5, 53.9)) == [0, 2]


def test_a_gap_of_more_than_three_intervals_neither_proves_nor_resets():
    steady = [(minute, 65) for minute in (0, 5, 10)]
    assert levels(LOW, True, *steady, (26, 65), (31, 65)) == [0, 0, 0, 0, 0]
    assert levels(LOW, True, *steady, (26, 65), (31, 65), (32, 65)) == [0, 0, 0, 0, 0, 1]
    assert levels(LOW, True, *steady, (25, 65)) == [0, 0, 0, 1]


def test_a_value_inside_by_the_margin_ends_it_and_one_between_does_not():
    assert levels(LOW, True, (0, 65), (5, 65), (10, 65), (15, 75), (20, 65), (25, 65)) == [0] * 6
    assert levels(LOW, True, (0, 65), (5, 65), (10, 65), (15, 74), (20, 65), (25, 65), (27, 65)) == [
        0,
        0,
        0,
        0,
        0,
        0,
        1,
    ]


def findings(samples, cuts=()):
    """(slot, level, clear, clock) after each sample of (slot, minute, mg/dL), cut into batches."""
    windows, found = GlucoseWindows(capacity=2), {}
    edges = [0, *sorted(cut for cut in cuts if cut <= len(samples)), len(samples)]
    for start, end in pairwise(edges):
        batch = samples[start:end]
        slots = np.array([slot for slot, _, _ in batch], np.int64)
        at = np.array([BASE + minute * MINUTE for _, minute, _ in batch], np.int64)
        values = np.array([value for _, _, value in batch], float)
        for part in windows.advance(slots, at, values):
            judged = excursion(part.slot, part.at_ms, part.value, LOW, True)
            for row, newest in zip(part.row.tolist(), part.newest.tolist(), strict=True):
                told = (part.slot[newest], judged.level[newest], judged.clear[newest], part.at_ms[newest])
                found[start + row] = tuple(map(int, told))
    return [found[nth] for nth in range(len(samples))], windows


SAMPLE = st.tuples(st.integers(0, 2), st.integers(0, 300), st.sampled_from([50.0, 60.0, 69.0, 72.0, 80.0]))


@tried(20)
@given(st.lists(SAMPLE, max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_cut_into_batches_finds_the_same(samples, cuts):
    assert findings(samples, cuts)[0] == findings(samples)[0]


@tried(20)
@given(st.lists(SAMPLE, max_size=60), st.randoms(use_true_random=False))
def test_any_order_of_arrival_leaves_one_state(samples, random):
    shuffled = random.sample(samples, len(samples))
    states = []
    for told in (samples, shuffled):
        windows = findings(told)[1]
        states.append(
            {slot: (windows._at_ms[at].tolist(), str(windows._value[at])) for slot, at in windows._place.items()}
        )
    assert states[0] == states[1]


@pytest.mark.parametrize("late", [True, False])
def test_a_late_sample_can_close_a_gap(late):
    told = [(0, 0, 65.0), (0, 5, 65.0), (0, 25, 65.0)]
    told += [(0, 15, 65.0)] if late else []
    assert findings(told)[0][-1][1] == int(late)
