"""Position columns against plain Python: the same rows are called fit, and the same rows are cut away."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.offsets import Interval
from warehouse.row_positions import RowsError, check_positions, rows_from

Position = tuple[str, int, int]
TOPICS = ("one", "two")
POSITIONS = st.tuples(st.sampled_from(TOPICS), st.integers(0, 3), st.integers(0, 9))
EVERYTHING = [Interval(topic, partition, 0, 10) for topic in TOPICS for partition in range(4)]


def table(positions: list[Position], dictionary: bool = True) -> pa.Table:
    topics = pa.array([topic for topic, _, _ in positions], pa.string())
    return pa.table(
        {
            "topic_id": topics.dictionary_encode() if dictionary else topics,
            "kafka_partition": pa.array([partition for _, partition, _ in positions], pa.int32()),
            "kafka_offset": pa.array([offset for _, _, offset in positions], pa.int64()),
        }
    )


def listed(rows: pa.Table) -> list[Position]:
    return list(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))


@given(st.lists(POSITIONS, unique=True), st.booleans())
def test_rows_inside_their_intervals_fit_in_any_order(positions: list[Position], dictionary: bool) -> None:
    check_positions(table(positions, dictionary), EVERYTHING)


@given(st.lists(POSITIONS, unique=True, min_size=1), st.data())
def test_one_row_outside_is_found(positions: list[Position], data: st.DataObject) -> None:
    topic, partition, offset = data.draw(st.sampled_from(positions))
    around = [(0, offset), (offset + 1, 11)]
    spans = [i for i in EVERYTHING if (i.topic_id, i.partition) != (topic, partition)]
    spans += [Interval(topic, partition, start, end) for start, end in around if start < end]
    with pytest.raises(RowsError, match=f"topic {topic} partition {partition}: 1 of"):
        check_positions(table(positions), spans)


@given(st.lists(POSITIONS, unique=True, min_size=1), st.data())
def test_a_position_that_comes_twice_is_found(positions: list[Position], data: st.DataObject) -> None:
    twice = data.draw(st.permutations([*positions, data.draw(st.sampled_from(positions))]))
    with pytest.raises(RowsError, match="two rows share a position"):
        check_positions(table(twice), EVERYTHING)


@given(
    st.lists(POSITIONS, unique=True),
    st.dictionaries(st.tuples(st.sampled_from(TOPICS), st.integers(0, 3)), st.integers(0, 10)),
)
def test_only_rows_from_the_start_of_their_partition_are_left_in_their_order(
    positions: list[Position], starts: dict[tuple[str, int], int]
) -> None:
    wanted = [(t, p, offset) for t, p, offset in positions if (t, p) in starts and offset >= starts[t, p]]
    assert listed(rows_from(table(positions), starts)) == wanted


def test_chunks_with_dictionaries_of_their_own_are_told_apart() -> None:
    rows = pa.concat_tables([table([("one", 0, 1)]), table([("two", 0, 1)]), table([("one", 0, 2)])])
    assert listed(rows_from(rows, {("one", 0): 2, ("two", 0): 0})) == [("two", 0, 1), ("one", 0, 2)]
    check_positions(rows, EVERYTHING)


def test_many_partitions_are_told_apart() -> None:
    positions = [("one", 50_000 * n, n) for n in range(5)]
    check_positions(table(positions), [Interval("one", 50_000 * n, n, n + 1) for n in range(5)])
