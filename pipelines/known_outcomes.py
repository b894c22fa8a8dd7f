"""Positions that are read again although a table has them: there the table says what is a duplicate, not the memory.

Holds: `KnownOutcomes`, and what it makes of the answer of `FirstPositions`.
Does not hold: the questions asked of the tables (warehouse/outcomes.py), the memory itself (deduplicate.py).

The memory of first positions is bounded, and after a restart its bounds fall elsewhere than they fell before. So a
position whose event stands at the memory's edge could be a row for the one table and a duplicate for the other. And
consent may have changed meanwhile: so a position could be a row for the one and withheld for the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

NOTHING_WITHHELD = np.iinfo(np.int64).max
"""The end of what is withheld of a stream that asks for no consent: it has said of every position that it has none."""
UNKNOWN_FIRST = -1
"""The first offset of a duplicate whose first position the memory no longer has."""


@dataclass(frozen=True, slots=True)
class PartitionOutcomes:
    """Of one partition: the rows below `rows_end`, the duplicates below `duplicates_end`, and what was withheld below
    `withheld_end`. Offsets are sorted.

    Attributes:
        rows_end, duplicates_end: the next offset of the table of rows, and of the duplicates' log.
        rows, duplicates: int64, offsets from the least of all ends on.
        firsts: int64, for each of `duplicates` the offset at which its event stood first.
        withheld_end, withheld: the same of what consent withholds; `NOTHING_WITHHELD` where the stream asks nobody.
    """

    rows_end: int
    duplicates_end: int
    rows: np.ndarray
    duplicates: np.ndarray
    firsts: np.ndarray
    withheld_end: int = NOTHING_WITHHELD
    withheld: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def end(self) -> int:
        withheld_end = 0 if self.withheld_end == NOTHING_WITHHELD else self.withheld_end
        return max(self.rows_end, self.duplicates_end, withheld_end)

    def applied(self, offsets: np.ndarray, first: np.ndarray) -> np.ndarray:
        """`first` (int64[n], of messages that are rows or duplicates) as the tables have it."""
        in_log, firsts = _found(offsets, self.duplicates, self.firsts)
        in_rows, _ = _found(offsets, self.rows, self.rows)
        in_withheld, _ = _found(offsets, self.withheld, self.withheld)
        # In neither place that has the position: in the log. Where one of them does not have it yet, memory must say.
        neither = offsets < min(self.rows_end, self.withheld_end)
        elsewhere = np.where(neither | (first != offsets), ~in_rows & ~in_withheld, False)
        is_duplicate = np.where(offsets < self.duplicates_end, in_log, elsewhere)
        remembered = np.where(first < offsets, first, UNKNOWN_FIRST)
        as_kept = np.where(is_duplicate, np.where(in_log, firsts, remembered), offsets)
        return np.where(offsets < self.end, as_kept, first)

    def withheld_as_kept(self, offsets: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """`fresh` (bool[n], of messages that are no duplicates: whether consent withholds them now) as the tables have
        it: what one of them has is in the other no more."""
        in_withheld, _ = _found(offsets, self.withheld, self.withheld)
        in_rows, _ = _found(offsets, self.rows, self.rows)
        by_rows = np.where(offsets < self.rows_end, ~in_rows, fresh)
        return np.where(offsets < self.withheld_end, in_withheld, by_rows)


@dataclass(frozen=True, slots=True)
class KnownOutcomes:
    """partition -> what the tables say of it; empty when all tables of the topic stand at the same position."""

    partitions: Mapping[int, PartitionOutcomes] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        rows_ends: Mapping[int, int],
        duplicates_ends: Mapping[int, int],
        rows: pa.Table,
        duplicates: pa.Table,
        withheld_ends: Mapping[int, int] | None = None,
        withheld: pa.Table | None = None,
    ) -> KnownOutcomes:
        """From the tables' vectors and what they hold between them (warehouse/outcomes.py)."""
        row_at, log_at = _places(rows), _places(duplicates)
        withheld_at = _places(rows.slice(0, 0) if withheld is None else withheld)
        firsts = np.asarray(duplicates["first_offset"]).astype(np.int64)
        return cls(
            {
                p: PartitionOutcomes(
                    rows_end,
                    duplicates_ends[p],
                    np.sort(row_at[1][row_at[0] == p]),
                    *_sorted_together(log_at[1][log_at[0] == p], firsts[log_at[0] == p]),
                    NOTHING_WITHHELD if withheld_ends is None else withheld_ends[p],
                    np.sort(withheld_at[1][withheld_at[0] == p]),
                )
                for p, rows_end in rows_ends.items()
                if {rows_end} != {duplicates_ends[p], rows_end if withheld_ends is None else withheld_ends[p]}
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

    def withheld(self, partitions: np.ndarray, offsets: np.ndarray, fresh: np.ndarray) -> np.ndarray:
        """bool[n]: what consent withholds now (`fresh`), where a table has the position as it has it."""
        for partition, outcomes in self.partitions.items():
            here = (partitions == partition) & (offsets < outcomes.end)
            if here.any():
                fresh = fresh.copy()
                fresh[here] = outcomes.withheld_as_kept(offsets[here], fresh[here])
        return fresh


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
