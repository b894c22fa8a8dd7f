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
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
# A first position in 64 bits: the low bits of its offset and of its second. Both are only ever compared with a position
# at hand, and come out right where they lie less than half of these ranges from it: 2**36 messages of one partition
# within a horizon, and two years, for which nothing is kept (`_LONGEST_S`).
_OFFSET_BITS, _SECOND_BITS = np.int64(37), np.int64(27)
_LONGEST_S = 365 * 86_400
_NEVER_S = 1 << 62


def deduplicate(
    batch: StreamBatch, first_positions: FirstPositions, contract: StreamContract, known: KnownOutcomes = NOTHING_KNOWN
) -> StreamBatch:
    """The batch without the rows whose event stands at an earlier position; those are in `duplicates`.

    It is the last step that may reject, so payloads and keys are held no longer but for the rejects, and for all where
    the contract keeps messages as they came.

    `known`: what tables already say of positions that are read again; it goes before the memory.
    """
    batch = replace(batch, subjects=None) if contract.keep_raw else batch.without_payloads()
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
    held goes at once. So at least the last `max_ids / 2 - batch` ids are known while they are young enough. Memory is
    set aside at once when this is made, 32 bytes for each of `max_ids` rounded up to a power of two, and becomes
    resident as ids come. What is forgotten too early is left to compaction.

    Ids are held as 64 bits of a hash keyed by `key`: two ids of one partition fall together with a chance below 2**-63,
    which no sender can raise, not knowing the key. With four million held that is one message in 4 * 10**12.

    Reading on from a position before the last one read is a rewind: make a new one and `restore` it.
    """

    def __init__(self, max_ids: int, horizon_seconds: int, key: bytes) -> None:
        if horizon_seconds > _LONGEST_S:
            raise ValueError(f"a horizon of {horizon_seconds} s is longer than a year")
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
        order = order[times[order] > times.max(initial=0) - _LONGEST_S]
        for part in self._pieces(len(order)):
            chosen = order[part]
            slots, _ = self._slots(ids.take(pa.array(chosen)), places[chosen], times[chosen])
            # Of an event that was let in twice, horizon apart, the later position stays: order is time.
            self._recent.places[slots] = _place(starts[chosen], times[chosen])

    def _pieces(self, n: int) -> list[slice]:
        return [slice(start, start + self._most) for start in range(0, n, self._most)]

    def _first_offsets(
        self, event_ids: pa.Array, partitions: np.ndarray, offsets: np.ndarray, seconds: np.ndarray
    ) -> np.ndarray:
        slots, fresh = self._slots(event_ids, partitions, seconds)
        held, places = self._recent.places, _place(offsets, seconds)
        # Written from the last to the first: of several at one slot the first in the batch stays.
        held[slots[fresh][::-1]] = places[fresh][::-1]
        first = offsets.astype(np.int64)
        open_ = np.arange(len(offsets))
        # One round settles all but events that occur again within this batch; a further round is only needed where
        # such an event outlives the horizon within the batch.
        while len(open_):
            at, before = slots[open_], held[slots[open_]]
            behind, age_s = _since(before, offsets[open_], seconds[open_])
            again = (behind > 0) & (age_s < self._horizon_s)
            first[open_[again]] -= behind[again]
            anew = open_[~again & (before != places[open_])]
            held[slots[anew][::-1]] = places[anew][::-1]
            after = held[at]
            left = np.flatnonzero(after != before)
            open_ = open_[left[_since(after[left], offsets[open_[left]], seconds[open_[left]])[0] > 0]]
        return first

    def _slots(self, event_ids: pa.Array, partitions: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The slot of each id in the recent generation, brought over from the older one or made where there is none;
        and which of them were made, so that nothing stands in their slots yet."""
        newest_s = int(seconds.max())
        if self._recent.count + len(partitions) > self._most or newest_s - self._recent.began_s > _LONGEST_S:
            self._recent, self._older = self._older, self._recent
            self._recent.clear()
        self._recent.began_s = min(self._recent.began_s, newest_s)
        hashes = self._hash(event_ids, partitions)
        slots, new = self._recent.place(hashes)
        if not self._older.count or not len(new):
            return slots, new
        known, where = self._older.find(hashes[new])
        self._recent.places[slots[new[known]]] = self._older.places[where]
        return slots, np.delete(new, known)


def _place(offsets: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """int64[n]: each position in 64 bits."""
    return (offsets << _SECOND_BITS) | (seconds & np.int64((1 << int(_SECOND_BITS)) - 1))


def _since(places: np.ndarray, offsets: np.ndarray, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] twice: how many offsets and how many seconds after the place each position lies."""
    behind = (offsets - (places >> _SECOND_BITS)) << (64 - _OFFSET_BITS) >> (64 - _OFFSET_BITS)
    return behind, (seconds - places) << (64 - _SECOND_BITS) >> (64 - _SECOND_BITS)


class _Generation:
    """A table with open addressing: a hash names an id, beside it stands its first position (`_place`).

    `began_s`: the Kafka time of the first that was placed.
    """

    def __init__(self, most: int) -> None:
        slots = 1 << (2 * most - 1).bit_length()
        self._mask = np.uint64(slots - 1)
        # What is looked at together lies together: the table is far larger than any cache. Zero is a free slot, so the
        # system gives a page only when something is placed in it.
        self._table = np.zeros((slots, 2), np.uint64)
        self._hashes, self.places = self._table[:, 0], self._table[:, 1].view(np.int64)
        self.count = 0
        self.began_s = _NEVER_S

    def clear(self) -> None:
        if self.count:
            self._table.fill(0)
        self.count = 0
        self.began_s = _NEVER_S

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(which of them are here, in which slots)."""
        slots, pending = self._start(hashes), np.arange(len(hashes))
        found = np.zeros(len(hashes), bool)
        while len(pending):
            held = self._hashes[slots[pending]]
            same = held == hashes[pending]
            found[pending[same]] = True
            pending = pending[~same & (held != 0)]
            slots[pending] = self._next(slots[pending])
        known = np.flatnonzero(found)
        return known, slots[known]

    def place(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the slot of each, made where there is none; which of them met a slot that was not there before)."""
        slots, pending = self._start(hashes), np.arange(len(hashes))
        made = np.zeros(len(hashes), bool)
        while len(pending):
            at, wanted = slots[pending], hashes[pending]
            free = self._hashes[at] == 0
            # Several may want one free slot: the last to write has it, the others look on.
            self._hashes[at[free]] = wanted[free]
            mine = self._hashes[at] == wanted
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
    """uint64[n] of strings and their partitions, never zero.

    Twice 32 bits, multilinear over 32-bit words with secret multipliers (Lemire and Kaser, The Computer Journal 57:11,
    2014): strongly universal, so that any of its bits choose a slot well.
    """

    def __init__(self, key: bytes) -> None:
        words = _MAX_BYTES // 4
        drawn = hashlib.shake_256(b"wardstream deduplicate" + key).digest(8 * 2 * (words + 3))
        self._keys = np.frombuffer(drawn, np.uint64).reshape(words + 3, 2)

    def __call__(self, strings: pa.Array, partitions: np.ndarray) -> np.ndarray:
        strings = _shortened(strings)
        bounds, data = _buffers(strings)
        sums = self._sums(data, bounds, np.diff(bounds), partitions) + self._keys[-1]
        hashes = (sums[:, 0] >> _32 << _32) | (sums[:, 1] >> _32)
        # Zero marks a free slot.
        return np.where(hashes == 0, _GOLDEN, hashes)

    def _sums(self, data: np.ndarray, bounds: np.ndarray, lengths: np.ndarray, partitions: np.ndarray) -> np.ndarray:
        if len(lengths) and (lengths == lengths[0]).all():
            characters = data[bounds[0] : bounds[-1]].reshape(len(lengths), lengths[0])
            return self._products(characters, partitions)
        sums = np.empty((len(lengths), 2), np.uint64)
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            sums[rows] = self._products(data[bounds[rows][:, None] + np.arange(length)], partitions[rows])
        return sums

    def _products(self, characters: np.ndarray, partitions: np.ndarray) -> np.ndarray:
        """uint64[n, 2] of uint8[n, length]: the words before them are partition and length."""
        n, length = characters.shape
        words = np.zeros((n, 2 + -(-length // 4)), np.uint32)
        words[:, 0], words[:, 1] = partitions, length
        words[:, 2:].view(np.uint8)[:, :length] = characters
        return words.astype(np.uint64) @ self._keys[: words.shape[1]]


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
