"""Where the positions of a replay are: all of them accounted for, none read twice, none across a hole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay_plan import AUTO, KAFKA, RAW, SOURCES, below, stretches, widest
from warehouse.offsets import Interval

span = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).map(tuple)


@given(wanted=span, kafka=span, raw=span, source=st.sampled_from(SOURCES))
def test_each_wanted_position_is_in_one_place(wanted, kafka, raw, source) -> None:
    for stretch in stretches("T", {0: wanted}, {0: kafka}, {0: raw}, source):
        places = [*range(*stretch.raw), *range(*stretch.kafka)]
        places += [position for gone in stretch.gone for position in range(gone.start, gone.end)]
        assert sorted(places) == list(range(*wanted))
        assert set(range(*stretch.kafka)) <= set(range(*kafka))
        assert set(range(*stretch.raw)) <= set(range(*raw))
        covered = stretch.covered
        if covered is not None:
            assert [*range(*stretch.raw), *range(*stretch.kafka)] == list(range(covered.start, covered.end))


@given(wanted=span, kafka=span, raw=span)
def test_what_can_be_had_up_to_the_end_is_had(wanted, kafka, raw) -> None:
    """From the end backwards, as far as the one or the other reaches."""
    there = {*range(*kafka), *range(*raw)}
    last = wanted[1]
    while last > wanted[0] and last - 1 in there:
        last -= 1
    for stretch in stretches("T", {0: wanted}, {0: kafka}, {0: raw}):
        if last < wanted[1] and wanted[1] - 1 in range(*kafka):
            assert stretch.covered == Interval("T", 0, last, wanted[1])


@pytest.mark.parametrize(
    ("source", "raw", "kafka", "gone"),
    [
        (AUTO, (5, 40), (40, 90), [(0, 5)]),
        (KAFKA, None, (40, 90), [(0, 40)]),
        (RAW, (5, 60), None, [(0, 5), (60, 90)]),
    ],
)
def test_kafka_is_read_where_it_can_be_and_what_is_kept_before_it(source, raw, kafka, gone) -> None:
    (stretch,) = stretches("T", {0: (0, 90)}, {0: (40, 95)}, {0: (5, 60)}, source)
    assert stretch.raw == raw or stretch.raw[0] == stretch.raw[1]
    assert stretch.kafka == kafka or stretch.kafka[0] == stretch.kafka[1]
    assert [(interval.start, interval.end) for interval in stretch.gone] == gone


def test_what_lies_before_a_hole_is_gone() -> None:
    (stretch,) = stretches("T", {0: (0, 90)}, {0: (40, 95)}, {0: (0, 39)})
    assert stretch.covered == Interval("T", 0, 40, 90)
    assert stretch.gone == (Interval("T", 0, 0, 40),)


def test_ranges_are_joined_to_the_widest_and_cut_at_ends() -> None:
    joined = widest([{0: (5, 9), 1: (0, 0)}, {0: (2, 6), 2: (1, 3)}])
    assert joined == {0: (2, 9), 2: (1, 3)}
    assert below(joined, {0: 4, 1: 7}) == {0: (2, 4)}
