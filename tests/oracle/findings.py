"""What a check finds, and the comparing of columns that all checks share.

Holds: findings and their headings, equality of two columns row by row.
Does not hold: any check (`checks`, `alert_checks`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .history import LakeTable

HEADINGS = (
    "lost",
    "doubled",
    "phantom",
    "misattributed",
    "misjudged",
    "disordered",
    "holes",
    "miscounted",
    "alerts_missing",
    "alerts_forged",
    "scores_missing",
    "scores_forged",
    "scores_wrong",
)


class Finding(NamedTuple):
    """`count` things that are wrong, in one of the `HEADINGS`; `what` says which rule, `where` the first place."""

    heading: str
    count: int
    what: str
    where: str = ""


def found(heading: str, bad: np.ndarray, what: str, places: np.ndarray | None = None) -> Finding:
    """The finding that a boolean column stands for; `places` are positions of the same length."""
    count = int(np.count_nonzero(bad))
    where = "" if places is None or not count else _place(int(places[np.argmax(bad)]))
    return Finding(heading, count, what, where)


def _place(position: int) -> str:
    return f"partition {position >> 48} offset {position & (1 << 48) - 1}"


def of_topic(table: LakeTable, topic_id: str) -> pa.Table:
    return table.rows.filter(pc.equal(table.rows["topic_id"].cast(pa.string()), topic_id))


def equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    """bool[n]: same value or both null; numbers to a relative 1e-9, since units are converted."""
    one, other = (plain(column) for column in (one, other))
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    if pa.types.is_list(one.type):
        return _equal_waves(one, other)
    if pa.types.is_floating(one.type):
        return pc.or_(both_null, pc.fill_null(_close(one, other), False)).to_numpy()
    return pc.or_(both_null, pc.fill_null(pc.equal(one, other), False)).to_numpy()


def _close(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.less_equal(pc.abs(pc.subtract(one, other)), pc.add(pc.multiply(pc.abs(other), 1e-9), 1e-9))


def _equal_waves(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    """bool[n]: both null, or lists of the same length with the same numbers in them."""
    lengths = [pc.fill_null(pc.list_value_length(column), -1).to_numpy() for column in (one, other)]
    equal = lengths[0] == lengths[1]
    alike = pa.array(equal)
    mine, told = (pa.chunked_array([column.filter(alike).combine_chunks().flatten()]) for column in (one, other))
    rows = np.repeat(np.flatnonzero(equal), np.maximum(lengths[0][equal], 0))
    equal[rows[~pc.fill_null(_close(mine, told), False).to_numpy()]] = False
    return equal


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        if pa.types.is_floating(column.type.value_type):
            return column.cast(pa.list_(pa.float64()))
        return pc.binary_join(column.cast(pa.list_(pa.string())), "\x1f")
    return column.cast(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(column.type) else column
