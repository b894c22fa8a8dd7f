"""Positions read again by one table are for the other what they were before, whatever the memory says meanwhile."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.known_outcomes import UNKNOWN_FIRST, KnownOutcomes

N = 12


def _table(offsets: list[int], firsts: list[int] | None = None) -> pa.Table:
    columns = {"kafka_partition": np.zeros(len(offsets), np.int32), "kafka_offset": np.array(offsets, np.int64)}
    if firsts is not None:
        columns["first_offset"] = np.array(firsts, np.int64)
    return pa.table(columns)


def _firsts(duplicates: set[int]) -> np.ndarray:
    """What a memory answers to which exactly these positions are duplicates, of position 0."""
    return np.array([0 if p in duplicates else p for p in range(1, N + 1)], np.int64)


@given(
    before=st.sets(st.integers(1, N)),
    after=st.sets(st.integers(1, N)),
    rows_end=st.integers(1, N + 1),
    log_end=st.integers(1, N + 1),
)
def test_a_position_stands_in_one_table_whatever_two_memories_say_of_it(
    before: set[int], after: set[int], rows_end: int, log_end: int
) -> None:
    rows = [p for p in range(1, rows_end) if p not in before]
    log = [p for p in range(1, log_end) if p in before]
    known = KnownOutcomes.of({0: rows_end}, {0: log_end}, _table(rows), _table(log, [0] * len(log)))
    offsets = np.arange(1, N + 1)
    first = known.applied(np.zeros(N, np.int32), offsets, _firsts(after))
    rows += [p for p in range(rows_end, N + 1) if first[p - 1] == p]
    log += [p for p in range(log_end, N + 1) if first[p - 1] != p]
    assert sorted(rows + log) == list(range(1, N + 1))


def test_beyond_both_tables_the_memory_decides() -> None:
    known = KnownOutcomes.of({0: 3}, {0: 2}, _table([1, 2]), _table([], []))
    first = known.applied(np.zeros(N, np.int32), np.arange(1, N + 1), _firsts({2, 5}))
    assert first.tolist() == [1, 2, 3, 4, 0, *range(6, N + 1)]


def test_the_first_position_of_a_duplicate_comes_from_the_log_or_else_from_the_memory_or_is_not_known() -> None:
    known = KnownOutcomes.of({0: 5}, {0: 3}, _table([1]), _table([2], [1]))
    first = known.applied(np.zeros(4, np.int32), np.arange(1, 5), np.array([1, 2, 0, 4]))
    assert first.tolist() == [1, 1, 0, UNKNOWN_FIRST]


def test_other_partitions_are_left_to_the_memory() -> None:
    known = KnownOutcomes.of({0: 5, 1: 5}, {0: 1, 1: 5}, _table([]), _table([], []))
    first = known.applied(np.array([0, 1], np.int32), np.array([1, 1]), np.array([1, 1]))
    assert first.tolist() == [UNKNOWN_FIRST, 1]
