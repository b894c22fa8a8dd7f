"""What is sealed on both sides, opened in memory and compared by digests under a key of this moment.

Holds: the opening of sealed values of a window of positions, and which of them differ. No opened value leaves here.
Does not hold: the columns in clear (`comparison.py`), the keys (`vault.py`), the record that they were opened
(`audit.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from warehouse.comparison import COLUMN, EXAMPLES, SEALS, Comparison, Days, Difference, on_days
from warehouse.contract import TableContract
from warehouse.identity import KeyGoneError, RejectKeys, SealError, unseal_of
from warehouse.lake_session import quoted
from warehouse.offsets import Interval

WINDOW = 1 << 22
"""Positions looked at together: of each that is sealed a digest is held."""
_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class SealedComparison:
    """Differences of sealed columns, and how many values no key opens any more: those were not compared."""

    differences: tuple[Difference, ...]
    unopened: int


def compare_sealed(comparison: Comparison, name: str, stream: str, keys: RejectKeys, days: Days) -> SealedComparison:
    """The sealed columns of a table that `comparison` has, of the rows that both sides have.

    `stream`: whose messages were sealed. Raises what the vault raises.
    """
    table = comparison.tables[name]
    columns = [column.name for column in table.columns if column.protection == "sealed" and column.name in SEALS]
    differences: list[Difference] = []
    unopened = 0
    for column in columns:
        opening = _Opening(comparison, table, column, stream, keys)
        for span in comparison.spans:
            for start in range(span.start, span.end, WINDOW):
                window = Interval(span.topic_id, span.partition, start, min(start + WINDOW, span.end))
                found, closed = opening.differences(window, days)
                differences += found
                unopened += closed
    return SealedComparison(tuple(differences), unopened)


@dataclass(frozen=True, slots=True)
class _Opened:
    """One side's values of a window by offset, in order: digest (0 where no key opens it), and the row's day."""

    offsets: np.ndarray
    digests: np.ndarray
    days: np.ndarray


class _Opening:
    """Opens one sealed column of one table."""

    def __init__(
        self, comparison: Comparison, table: TableContract, column: str, stream: str, keys: RejectKeys
    ) -> None:
        assert table.partitioning is not None, "a table that topics feed has days"
        self._session, self._name, self._time = comparison.session, table.name, table.partitioning.column
        self._column, self._under, self._stream, self._keys = column, SEALS[column], stream, keys
        self._secret = os.urandom(32)

    def differences(self, window: Interval, days: Days) -> tuple[list[Difference], int]:
        """By day, and how many values could not be opened."""
        kept, rebuilt = self._side("kept", window, days), self._side("rebuilt", window, days)
        offsets, at, there = np.intersect1d(kept.offsets, rebuilt.offsets, return_indices=True)
        closed = (kept.digests[at] == 0) | (rebuilt.digests[there] == 0)
        differ = (kept.digests[at] != rebuilt.digests[there]) & ~closed
        found = []
        for number in np.unique(kept.days[at][differ]).tolist():
            which = offsets[differ & (kept.days[at] == number)]
            examples = tuple((window.topic_id, window.partition, int(offset)) for offset in which[:EXAMPLES])
            found.append(Difference(date.fromordinal(number), COLUMN, len(which), self._column, examples=examples))
        return found, int(np.count_nonzero(closed))

    def _side(self, side: str, window: Interval, days: Days) -> _Opened:
        parts = list(self._opened(side, window, days))
        columns = [np.concatenate(part) for part in zip(*parts, strict=True)] if parts else []
        if not columns:
            return _Opened(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.int64))
        offsets, first = np.unique(columns[0], return_index=True)
        return _Opened(offsets, columns[1][first], columns[2][first])

    def _opened(self, side: str, window: Interval, days: Days) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        on = "true" if days is None else on_days(f'"{self._time}"', days)
        reader = self._session.execute(
            f"""SELECT kafka_offset, "{self._column}" AS sealed, "{self._under}" AS under, subject_token,
                       "{self._time}" AS time
                FROM {side}_{self._name}
                WHERE topic_id = {quoted(window.topic_id)} AND kafka_partition = {window.partition}
                  AND kafka_offset >= {window.start} AND kafka_offset < {window.end} AND {on}
                  AND "{self._column}" IS NOT NULL"""
        ).to_arrow_reader(_ROWS)
        for batch in reader:
            yield (
                batch["kafka_offset"].to_numpy(),
                np.array([self._digest(*row) for row in _rows(batch)], np.uint64),
                np.array([_ordinal(time) for time in batch["time"].to_pylist()], np.int64),
            )

    def _digest(self, sealed: bytes, under: str, token: str | None) -> int:
        """0 where the key is gone. Whose key seals it is part of what is compared, and so is that it opens at all."""
        try:
            opened = under.encode() + b"|" + unseal_of(self._keys, self._stream, self._column, sealed, under, token)
        except KeyGoneError:
            return 0
        except SealError:
            opened = b"does not open"
        return int.from_bytes(hashlib.blake2b(opened, key=self._secret, digest_size=8).digest(), "little") or 1


def _rows(batch: pa.RecordBatch) -> Iterator[tuple[bytes, str, str | None]]:
    yield from zip(*(batch[name].to_pylist() for name in ("sealed", "under", "subject_token")), strict=True)


def _ordinal(time: datetime | date | None) -> int:
    if time is None:
        return date.min.toordinal()
    return (time.date() if isinstance(time, datetime) else time).toordinal()
