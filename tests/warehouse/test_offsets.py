"""Interval arithmetic: whatever is offered in whatever order, each position enters once, and a hole always stops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import tried
from warehouse.offsets import (
    GapError,
    Interval,
    PartitionAddedError,
    VectorMissingError,
    advanced,
    commit_id,
    decode_intervals,
    decode_vector,
    encode_intervals,
    encode_vector,
    joined,
    least,
    place,
    started,
)

TOPIC = "3QzRWH8kSmWAcEfVVkuG_A"
KEYS = [(TOPIC, 0), (TOPIC, 1), ("other-topic", 0)]


def interval(start: int, end: int, partition: int = 0, topic: str = TOPIC) -> Interval:
    return Interval(topic, partition, start, end)


def vector(offset: int) -> dict[str, dict[int, int]]:
    return {TOPIC: {0: offset}}


@pytest.mark.parametrize(
    ("reached", "verdict", "start"),
    [(10, "accept", 10), (13, "trim", 13), (19, "trim", 19), (20, "drop", 20), (25, "drop", 20)],
)
def test_an_interval_is_dropped_trimmed_or_accepted_by_where_the_vector_stands(
    reached: int, verdict: str, start: int
) -> None:
    [placement] = place(vector(reached), [interval(10, 20)])
    assert (placement.verdict, placement.start) == (verdict, start)


def test_a_gap_of_one_position_is_a_gap() -> None:
    with pytest.raises(GapError, match=r"\[9, 10\) would be lost"):
        place(vector(9), [interval(10, 20)])


@given(reached=st.integers(0, 99), start=st.integers(0, 99), length=st.integers(1, 50))
def test_a_gap_always_raises_and_nothing_else_does(reached: int, start: int, length: int) -> None:
    offered = [interval(start, start + length)]
    if start > reached:
        with pytest.raises(GapError, match=rf"\[{reached}, {start}\) would be lost"):
            place(vector(reached), offered)
    else:
        assert advanced(vector(reached), offered) == vector(max(reached, start + length))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[dict[tuple[str, int], int], list[list[Interval]]]:
    """How far each partition really goes, and offers as a runner may make them: from anywhere at or below what was
    offered before (retry, overlap, restart from far back) to anywhere above, in commits of several partitions."""
    ends = dict.fromkeys(KEYS, 0)
    commits = []
    for _ in range(draw(st.integers(1, 20))):
        offers = []
        for key in draw(st.lists(st.sampled_from(KEYS), unique=True, min_size=1)):
            start = draw(st.integers(0, ends[key]))
            end = draw(st.integers(start + 1, start + 30))
            cut = draw(st.integers(start, end))
            pieces = [(start, cut), (cut, end)] if start < cut < end else [(start, end)]
            offers += [Interval(*key, a, b) for a, b in pieces]
            ends[key] = max(ends[key], end)
        commits.append(draw(st.permutations(offers)))
    return ends, commits


@tried(80)
@given(deliveries())
def test_any_interleaving_of_replays_and_overlaps_enters_each_position_once(
    history: tuple[dict[tuple[str, int], int], list[list[Interval]]],
) -> None:
    ends, commits = history
    state = {TOPIC: {0: 0, 1: 0}, "other-topic": {0: 0}}
    entered: list[tuple[str, int, int]] = []
    for offered in commits:
        for placement in place(state, offered):
            if piece := placement.remainder:
                entered += [(piece.topic_id, piece.partition, offset) for offset in range(piece.start, piece.end)]
        state = advanced(state, offered)
    assert len(entered) == len(set(entered))
    assert sorted(entered) == sorted((*key, offset) for key, end in ends.items() for offset in range(end))
    assert all(state[topic][partition] == end for (topic, partition), end in ends.items())


def test_intervals_that_touch_are_joined_and_overlaps_are_refused() -> None:
    assert joined([interval(5, 9), interval(0, 5), interval(0, 3, 1)]) == [interval(0, 9), interval(0, 3, 1)]
    with pytest.raises(ValueError, match="offered twice from 4 to 5"):
        joined([interval(0, 5), interval(4, 9)])


def test_of_two_pieces_the_second_is_placed_after_the_first() -> None:
    assert [p.verdict for p in place(vector(12), [interval(5, 9), interval(11, 14)])] == ["drop", "trim"]
    with pytest.raises(GapError):
        place(vector(5), [interval(5, 9), interval(11, 14)])


@pytest.mark.parametrize(("start", "end", "partition"), [(5, 5, 0), (6, 5, 0), (-1, 5, 0), (0, 5, -1)])
def test_an_interval_without_positions_cannot_be_made(start: int, end: int, partition: int) -> None:
    with pytest.raises(ValueError, match="start < end"):
        interval(start, end, partition)


def test_an_unknown_topic_is_not_started_at_zero() -> None:
    with pytest.raises(VectorMissingError):
        place({}, [interval(0, 5)])


def test_a_partition_the_first_vector_did_not_name_stops() -> None:
    with pytest.raises(PartitionAddedError, match="partition 4"):
        place(vector(0), [interval(0, 5, partition=4)])


def test_a_start_is_recorded_once_and_names_all_partitions() -> None:
    assert started({"other": {0: 7}}, TOPIC, {0: 3, 1: 0}) == {"other": {0: 7}, TOPIC: {0: 3, 1: 0}}
    assert started({TOPIC: {0: 30, 1: 0}}, TOPIC, {0: 3, 1: 0}) is None
    with pytest.raises(ValueError, match="name every partition"):
        started({}, TOPIC, {})


@pytest.mark.parametrize("lows", [{0: 0}, {0: 0, 1: 0, 2: 0}])
def test_a_start_with_other_partitions_is_refused(lows: dict[int, int]) -> None:
    with pytest.raises(PartitionAddedError):
        started({TOPIC: {0: 0, 1: 0}}, TOPIC, lows)


def test_a_log_that_begins_above_the_vector_is_a_loss() -> None:
    with pytest.raises(GapError, match=r"\[10, 11\) left the log"):
        started(vector(10), TOPIC, {0: 11})


def test_the_source_starts_at_the_least_of_its_tables() -> None:
    assert least([{TOPIC: {0: 9, 1: 2}}, {TOPIC: {0: 4, 1: 8}, "other": {0: 0}}], TOPIC) == {0: 4, 1: 2}


@pytest.mark.parametrize("vectors", [[], [{}], [{TOPIC: {0: 1}}, {}], [{TOPIC: {0: 1}}, {TOPIC: {0: 1, 1: 1}}]])
def test_no_least_where_a_table_does_not_know_the_topic(vectors: list[dict[str, dict[int, int]]]) -> None:
    with pytest.raises(VectorMissingError):
        least(vectors, TOPIC)


@given(st.dictionaries(st.text(min_size=1), st.dictionaries(st.integers(0, 300), st.integers(0, 2**62), min_size=1)))
def test_a_vector_survives_its_text(original: dict[str, dict[int, int]]) -> None:
    assert decode_vector(encode_vector(original)) == original


@pytest.mark.parametrize("text", ["", "[]", "{", '{"t": 3}', '{"t": {"0": null}}', '{"t": {"x": 1}}'])
def test_a_broken_vector_is_not_read_as_an_empty_one(text: str) -> None:
    with pytest.raises(VectorMissingError):
        decode_vector(text)


@given(st.permutations([interval(0, 3), interval(3, 9), interval(2, 4, 1), interval(0, 1, 0, "other-topic")]))
def test_the_commit_id_depends_on_positions_only(offered: list[Interval]) -> None:
    assert commit_id(offered) == commit_id([interval(0, 9), interval(2, 4, 1), interval(0, 1, 0, "other-topic")])
    assert commit_id(offered) != commit_id(offered[:-1])
    assert decode_intervals(encode_intervals(offered)) == joined(offered)
