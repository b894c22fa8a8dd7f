"""An event that stands at two positions is one event: which position was first, within bounds of time and number.

Holds: `FirstPositions`, the memory of first positions, and the step that takes duplicates out of a batch.
Does not hold: where that memory is restored from (the lake), nor what is kept of a duplicate (`lake_rows.py`).

What is remembered is the position, not that an event "was seen": a position that is read again is itself, never a
duplicate of itself. Only an earlier position of the same partition makes a duplicate, since a key's events all stand
in one. A message that was rejected is not an event and is not remembered.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.batch import Duplicates, StreamBatch
from pipelines.known_outcomes import KnownOutcomes
from warehouse.contract import StreamContract

NOTHING_KNOWN = KnownOutcomes()
_MAX_BYTES = 256
_NOWHERE = np.int64(np.iinfo(np.int64).max)
# What is looked at together lies together: the table is far larger than any cache.
_SLOT = np.dtype([("hash", np.uint64), ("offset", np.int64), ("check", np.uint32), ("seconds", np.uint32)])
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def deduplicate(
    batch: StreamBatch, first_positions: FirstPositions, contract: StreamContract, known: KnownOutcomes = NOTHING_KNOWN
) -> StreamBatch:
    """The batch without the rows whose event stands at an earlier position; those are in `duplicates`.

    `known`: what tables already say of positions that are read again; it goes before the memory.
    """
    if contract.deduplication is None or not len(batch.row_index):
        return batch
    event_ids = batch.rows[contract.deduplication.column].combine_chunks()
    index, messages = batch.row_index, batch.messages
    offsets = messages.offsets[index]
    partitions = messages.partitions[index]
    first = first_positions.first_offsets(event_ids, partitions, offsets, messages.appended_ms[index])
    first = known.applied(partitions, offsets, first)
    again = first != offsets
    if not again.any():
        return batch
    duplicates = Duplicates(index[again], first[again], event_ids.filter(pa.array(again)))
    return replace(batch.keep(~again, []), duplicates=duplicates)


class FirstPositions:
    """The first position of each event of late, for one stream; not thread-safe.

    An event is forgotten when a message is `horizon_seconds` or more of Kafka time (whole seconds) younger than its
    first position, exactly and wherever batches are cut; or when `max_ids` are held: then the older half of what is
    held goes at once. So at least the last `max_ids / 2 - batch` ids are known while they are young enough, and memory,
    taken at once when this is made, is 48 bytes for each of `max_ids` rounded up to a power of two. What is forgotten
    too early is left to compaction.

    Ids are held as 96 bits of a hash keyed by `key`: two ids of one partition fall together with a chance below 2**-60,
    which no sender can raise, not knowing the key.

    Reading on from a position before the last one read is a rewind: make a new one and `restore` it.
    """

    def __init__(self, max_ids: int, horizon_seconds: int, key: bytes) -> None:
        self._horizon_s = np.int64(horizon_seconds)
        self._hash = _KeyedHash(key)
        self._most = max(1, max_ids // 2)
        self._recent, self._older = _Generation(self._most), _Generation(self._most)

    def first_offsets(
        self, event_ids: pa.Array, partitions: np.ndarray, offsets: np.ndarray, kafka_ms: np.ndarray
    ) -> np.ndarray:
        """int64[n]: where each event stood first; its own offset where that is here. Remembers those.

        Args:
            event_ids: string[n], none null.
            partitions: int[n].
            offsets: int64[n], rising within a partition.
            kafka_ms: int64[n], milliseconds since 1970 UTC.
        """
        pieces = [
            self._first_offsets(event_ids[part], partitions[part], offsets[part], kafka_ms[part] // 1000)
            for part in self._pieces(len(offsets))
        ]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def restore(
        self, event_ids: pa.Array | pa.ChunkedArray, partitions: object, offsets: object, kafka_times: object
    ) -> None:
        """Take in rows that are in the lake, each a first position, in any order (Arrow or numpy columns).

        `kafka_times`: timestamps, or integers of milliseconds. Of more than `max_ids` rows the youngest are kept.
        """
        ids = _one_array(event_ids)
        places, starts = _integers(partitions), _integers(offsets)
        times = _milliseconds(kafka_times) // 1000
        order = np.lexsort((starts, times))
        for part in self._pieces(len(order)):
            chosen = order[part]
            slots = self._slots(ids.take(pa.array(chosen)), places[chosen])
            # Of an event that was let in twice, horizon apart, the later position stays: order is time.
            self._recent.offsets[slots] = starts[chosen]
            self._recent.seconds[slots] = times[chosen]

    def _pieces(self, n: int) -> list[slice]:
        return [slice(start, start + self._most) for start in range(0, n, self._most)]

    def _first_offsets(
        self, event_ids: pa.Array, partitions: np.ndarray, offsets: np.ndarray, seconds: np.ndarray
    ) -> np.ndarray:
        slots = self._slots(event_ids, partitions)
        held, held_s = self._recent.offsets, self._recent.seconds
        first = offsets.astype(np.int64)
        open_ = np.arange(len(offsets))
        # One round settles all but events that occur again within this batch; a further round is only needed where
        # such an event outlives the horizon within the batch.
        while len(open_):
            at, here = slots[open_], offsets[open_]
            before = held[at]
            again = (before < here) & (seconds[open_] - held_s[at] < self._horizon_s)
            first[open_[again]] = before[again]
            anew = open_[~again]
            # Written from the last to the first: of several at one slot the first in the batch stays.
            held[slots[anew][::-1]] = offsets[anew][::-1]
            held_s[slots[anew][::-1]] = seconds[anew][::-1]
            after = held[at]
            first[anew] = offsets[anew]
            open_ = open_[(after != before) & (here > after)]
        return first

    def _slots(self, event_ids: pa.Array, partitions: np.ndarray) -> np.ndarray:
        """The slot of each id in the recent generation, made where there is none, brought over from the older one."""
        if self._recent.count + len(partitions) > self._most:
            self._recent, self._older = self._older, self._recent
            self._recent.clear()
        hashes, checks = self._hash(event_ids, partitions)
        slots, new = self._recent.place(hashes, checks)
        if self._older.count and len(new):
            known, where = self._older.find(hashes[new], checks[new])
            moved = slots[new[known]]
            self._recent.offsets[moved] = self._older.offsets[where]
            self._recent.seconds[moved] = self._older.seconds[where]
        return slots


class _Generation:
    """A table with open addressing: hash and check name an id, beside them stands its first position."""

    def __init__(self, most: int) -> None:
        slots = 1 << (2 * most - 1).bit_length()
        self._mask = np.uint64(slots - 1)
        self._table: np.ndarray = np.empty(slots, _SLOT)
        self._hashes, self._checks = self._table["hash"], self._table["check"]
        self.offsets, self.seconds = self._table["offset"], self._table["seconds"]
        self.count = 0
        self.clear()

    def clear(self) -> None:
        self._table.fill(np.array((0, _NOWHERE, 0, 0), _SLOT))
        self.count = 0

    def find(self, hashes: np.ndarray, checks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(which of them are here, in which slots)."""
        slots, pending = self._start(hashes), np.arange(len(hashes))
        found = np.zeros(len(hashes), bool)
        while len(pending):
            at = slots[pending]
            same = (self._hashes[at] == hashes[pending]) & (self._checks[at] == checks[pending])
            found[pending[same]] = True
            pending = pending[~same & (self._hashes[at] != 0)]
            slots[pending] = self._next(slots[pending])
        known = np.flatnonzero(found)
        return known, slots[known]

    def place(self, hashes: np.ndarray, checks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the slot of each, made where there is none; which of them met a slot that was not there before)."""
        slots, pending = self._start(hashes), np.arange(len(hashes))
        made = np.zeros(len(hashes), bool)
        while len(pending):
            at, wanted, check = slots[pending], hashes[pending], checks[pending]
            free = self._hashes[at] == 0
            # Several may want one free slot: the last to write has it, the others look on.
            self._hashes[at[free]] = wanted[free]
            self._checks[at[free]] = check[free]
            mine = (self._hashes[at] == wanted) & (self._checks[at] == check)
            made[pending[free & mine]] = True
            pending = pending[~mine]
            slots[pending] = self._next(slots[pending])
        new = np.flatnonzero(made)
        self.count += len(new)
        return slots, new

    def _start(self, hashes: np.ndarray) -> np.ndarray:
        return (hashes & self._mask).astype(np.int64)

    def _next(self, slots: np.ndarray) -> np.ndarray:
        return (slots + 1) & np.int64(self._mask)


class _KeyedHash:
    """(uint64[n], uint32[n]) of strings and their partitions.

    Multilinear over 32-bit words with secret multipliers (Lemire and Kaser, The Computer Journal 57:11, 2014), twice.
    """

    def __init__(self, key: bytes) -> None:
        words = _MAX_BYTES // 4
        drawn = hashlib.shake_256(b"wardstream deduplicate" + key).digest(8 * 2 * (words + 3))
        self._keys = np.frombuffer(drawn, np.uint64).reshape(words + 3, 2)

    def __call__(self, strings: pa.Array, partitions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        strings = _shortened(strings)
        bounds, data = _buffers(strings)
        lengths = np.diff(bounds)
        sums = self._sums(data, bounds, lengths)
        for multipliers, numbers in zip(self._keys[-3:-1], (partitions, lengths), strict=True):
            sums += numbers.astype(np.uint64)[:, None] * multipliers
        sums += self._keys[-1]
        hashes = _mixed(sums[:, 0])
        # Zero marks a free slot.
        return np.where(hashes == 0, _GOLDEN, hashes), (sums[:, 1] >> np.uint64(32)).astype(np.uint32)

    def _sums(self, data: np.ndarray, bounds: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if len(lengths) and (lengths == lengths[0]).all():
            return self._products(data[bounds[0] : bounds[-1]].reshape(len(lengths), lengths[0]))
        sums = np.empty((len(lengths), 2), np.uint64)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            sums[rows] = self._products(data[bounds[rows][:, None] + np.arange(length)])
        return sums

    def _products(self, characters: np.ndarray) -> np.ndarray:
        """uint64[n, 2] of uint8[n, length]."""
        n, length = characters.shape
        padded = np.zeros((n, -(-length // 4) * 4), np.uint8)
        padded[:, :length] = characters
        words = padded.view(np.uint32).astype(np.uint64)
        return words @ self._keys[: words.shape[1]]


def _mixed(sums: np.ndarray) -> np.ndarray:
    """Spread the high bits, which are the good ones, over the low ones, which choose the slot. One to one."""
    sums = (sums ^ (sums >> np.uint64(32))) * _GOLDEN
    return sums ^ (sums >> np.uint64(29))


def _buffers(strings: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(int32[n + 1] bounds, uint8 characters) of a string array, without a copy."""
    _, bounds, characters = strings.buffers()
    data = np.frombuffer(characters or b"", np.uint8)
    return np.frombuffer(bounds, np.int32)[strings.offset : strings.offset + len(strings) + 1], data


def _shortened(strings: pa.Array) -> pa.Array:
    """Strings of more than `_MAX_BYTES` bytes as their digests; contracts usually allow none."""
    long = np.diff(_buffers(strings)[0]) > _MAX_BYTES
    if not long.any():
        return strings
    return pa.array(
        [_digest(text) if is_long else text for text, is_long in zip(strings.to_pylist(), long, strict=True)]
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.cast(pa.string())


def _integers(column: object) -> np.ndarray:
    return np.asarray(column).astype(np.int64)


def _milliseconds(column: object) -> np.ndarray:
    if isinstance(column, pa.Array | pa.ChunkedArray) and pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    return _integers(column)
