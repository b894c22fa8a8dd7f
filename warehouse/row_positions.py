"""The position columns of Arrow rows: do rows and intervals agree, and which rows does a table still lack.

Holds: vectorised checks and cuts by `topic_id`, `kafka_partition`, `kafka_offset`.
Does not hold: the rule of what is missing (offsets.py), nor any I/O.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa

from warehouse.offsets import Interval

SMALL_KEY = 1 << 15


class RowsError(ValueError):
    """Rows and the intervals they are said to come from contradict each other: a fault of the caller."""


def check_positions(rows: pa.Table, intervals: Iterable[Interval]) -> None:
    """Raise `RowsError` unless every row lies in one of the intervals and no two rows share a position.

    An interval may hold no row (positions are not messages, and not every message becomes a row of this table).
    """
    spans: dict[tuple[str, int], list[Interval]] = defaultdict(list)
    for interval in intervals:
        spans[interval.topic_id, interval.partition].append(interval)
    for topic_id, partition, offsets in _offsets_by_partition(rows):
        where = f"topic {topic_id} partition {partition}"
        inside = sum(
            int(np.count_nonzero((offsets >= span.start) & (offsets < span.end))) for span in spans[topic_id, partition]
        )
        if inside != len(offsets):
            raise RowsError(
                f"{where}: {len(offsets) - inside} of {len(offsets)} rows lie outside the intervals offered"
            )
        if not _distinct(offsets):
            raise RowsError(f"{where}: two rows share a position between {offsets.min()} and {offsets.max()}")


def rows_from(rows: pa.Table, starts: Mapping[tuple[str, int], int]) -> pa.Table:
    """The rows at or above the start of their partition, in their order; a partition without a start has none."""
    offsets = rows["kafka_offset"].to_numpy()
    keep = np.zeros(rows.num_rows, bool)
    for topic_id, partition, members in _members_by_partition(rows):
        if (start := starts.get((topic_id, partition))) is not None:
            keep[members] = offsets[members] >= start
    return rows if keep.all() else rows.filter(pa.array(keep))


def _distinct(offsets: np.ndarray) -> bool:
    return bool((np.diff(offsets) > 0).all()) or len(np.unique(offsets)) == len(offsets)


def _offsets_by_partition(rows: pa.Table) -> Iterator[tuple[str, int, np.ndarray]]:
    offsets = rows["kafka_offset"].to_numpy()
    for topic_id, partition, members in _members_by_partition(rows):
        yield topic_id, partition, offsets[members]


def _members_by_partition(rows: pa.Table) -> Iterator[tuple[str, int, np.ndarray]]:
    """For each (topic, partition) among the rows the indices of its rows, rising."""
    if not rows.num_rows:
        return
    topics = rows["topic_id"]
    if not pa.types.is_dictionary(topics.type):
        topics = topics.dictionary_encode()
    topics = topics.unify_dictionaries()
    names = topics.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in topics.chunks])
    partitions = rows["kafka_partition"].to_numpy()
    width = int(partitions.max()) + 1
    keys = codes.astype(np.int64) * width + partitions
    if (keys == keys[0]).all():
        yield names[int(codes[0])], int(partitions[0]), np.arange(rows.num_rows)
        return
    # numpy sorts 16-bit keys by radix, wider ones by comparison.
    order = np.argsort(keys.astype(np.int16) if len(names) * width < SMALL_KEY else keys, kind="stable")
    sorted_keys = keys[order]
    bounds = [0, *(np.flatnonzero(np.diff(sorted_keys)) + 1).tolist(), len(order)]
    for start, end in pairwise(bounds):
        topic, partition = divmod(int(sorted_keys[start]), width)
        yield names[topic], partition, order[start:end]
