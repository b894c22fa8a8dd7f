"""Positions that are read again although a table has them: there the table says what is a duplicate, not the memory.

Holds: `KnownOutcomes`, and what it makes of the answer of `FirstPositions`.
Does not hold: the questions asked of the tables (warehouse/outcomes.py), the memory itself (deduplicate.py).

The memory of first positions is bounded, and after a restart its bounds fall elsewhere than they fell before. So a
position whose event stands at the memory's edge could be a row for the one table and a duplicate for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

UNKNOWN_FIRST = -1
"""The first offset of a duplicate whose first position the memory no longer has."""


@dataclass(frozen=True, slots=True)
class PartitionOutcomes:
    """Of one partition: the rows below `rows_end`, and the duplicates below `duplicates_end`. Offsets are sorted.

    Attributes:
        rows_end, duplicates_end: the next offset of the table of rows, and of the duplicates' log.
        rows, duplicates: int64, offsets from the least of both ends on.
        firsts: int64, for each of `duplicates` the offset at which its event stood first.
    """

    rows_end: int
    duplicates_end: int
    rows: np.ndarray
    duplicates: np.ndarray
    firsts: np.ndarray

    @property
    def end(self) -> int:
        return max(self.rows_end, self.duplicates_end)

    def applied(self, offsets: np.ndarray, first: np.ndarray) -> np.ndarray:
        """`first` (int64[n], of messages that are rows or duplicates) as the tables have it."""
        in_log, firsts = _found(offsets, self.duplicates, self.firsts)
        in_rows, _ = _found(offsets, self.rows, self.rows)
        is_duplicate = np.where(offsets < self.duplicates_end, in_log, ~in_rows)
        remembered = np.where(first < offsets, first, UNKNOWN_FIRST)
        as_kept = np.where(is_duplicate, np.where(in_log, firsts, remembered), offsets)
        return np.where(offsets < self.end, as_kept, first)


@dataclass(frozen=True, slots=True)
class KnownOutcomes:
    """partition -> what the tables say of it; empty when all tables of the topic stand at the same position."""

    partitions: Mapping[int, PartitionOutcomes] = field(default_factory=dict)

    @classmethod
    def of(
        cls, rows_ends: Mapping[int, int], duplicates_ends: Mapping[int, int], rows: pa.Table, duplicates: pa.Table
    ) -> KnownOutcomes:
        """From the tables' vectors and what they hold between them (warehouse/outcomes.py)."""
        row_at, log_at = _places(rows), _places(duplicates)
        firsts = np.asarray(duplicates["first_offset"]).astype(np.int64)
        return cls(
            {
                p: PartitionOutcomes(
                    rows_end,
                    duplicates_ends[p],
                    np.sort(row_at[1][row_at[0] == p]),
                    *_sorted_together(log_at[1][log_at[0] == p], firsts[log_at[0] == p]),
                )
                for p, rows_end in rows_ends.items()
                if rows_end != duplicates_ends[p]
            }
        )

    def applied(self, partitions: np.ndarray, offsets: np.ndarray, first: np.ndarray) -> np.ndarray:
        """int64[n]: the first position of each row's event, where a table has the row's position as it has it."""
        for partition, outcomes in self.partitions.items():
            here = (partitions == partition) & (offsets < outcomes.end)
            if here.any():
                first = first.copy()
                first[here] = outcomes.applied(offsets[here], first[here])
        return first


def _places(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(table["kafka_partition"]), np.asarray(table["kafka_offset"]).astype(np.int64)


def _sorted_together(keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(keys, kind="stable")
    return keys[order], values[order]


def _found(wanted: np.ndarray, keys: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bool[n]: whether it is among the sorted keys, int64[n]: its value, anything where it is not)."""
    if not len(keys):
        return np.zeros(len(wanted), bool), np.zeros(len(wanted), np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return keys[at] == wanted, values[at]
