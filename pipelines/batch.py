"""What flows along the graph: messages as read, and the same messages with what the steps found out about them.

Holds: the two element types and their Beam coder.
Does not hold: any step. A step is a pure function `StreamBatch -> StreamBatch` in a module of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, compress

import numpy as np
import pyarrow as pa

ERASED = "erased"
"""Reason of a reject about somebody who was erased: its position is kept, and nothing else of it."""

_OBJECT_BYTES = 33
"""What a byte string takes beside its bytes,"""
_MESSAGE_BYTES = 40
"""and what a message takes in the arrays and lists of its batch."""


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """n messages of one topic as they were read, of one or several partitions of a shard.

    Attributes:
        stream: the contract's name, e.g. `device.vitals`.
        topic_id: Kafka's id of the topic (KIP-516), so that a recreated topic is another topic.
        partitions: int32[n].
        offsets: int64[n], strictly rising within a partition.
        appended_ms: int64[n], the broker's append time (LogAppendTime), milliseconds since 1970 UTC.
        keys, values: n byte strings or None, as on the wire; identifiers in clear, memory only. Behind the last step
            that reads them they are None but for rejects (`StreamBatch.without_payloads`).
        intervals: partition -> [start, next): the positions this batch accounts for. It may be wider than the
            offsets (transaction markers, compaction), never narrower; a batch may be without messages.
    """

    stream: str
    topic_id: str
    partitions: np.ndarray
    offsets: np.ndarray
    appended_ms: np.ndarray
    keys: list[bytes | None]
    values: list[bytes | None]
    intervals: dict[int, tuple[int, int]]

    @classmethod
    def without_messages(cls, stream: str, topic_id: str, intervals: dict[int, tuple[int, int]]) -> MessageBatch:
        """What accounts for positions that hold no message."""
        none = np.empty(0, np.int64)
        return cls(stream, topic_id, np.empty(0, np.int32), none, none, [], [], intervals)

    def __len__(self) -> int:
        return len(self.values)

    def with_payloads_of(self, indices: Iterable[int]) -> MessageBatch:
        """The same messages; keys and values of those at `indices` only, None for the others."""
        keys: list[bytes | None] = [None] * len(self)
        values = keys.copy()
        for at in indices:
            keys[at], values[at] = self.keys[at], self.values[at]
        return replace(self, keys=keys, values=values)

    def only(self, kept: np.ndarray, intervals: dict[int, tuple[int, int]]) -> MessageBatch:
        """The messages of `kept` (bool[n]), accounting for `intervals`."""
        return replace(
            self,
            partitions=self.partitions[kept],
            offsets=self.offsets[kept],
            appended_ms=self.appended_ms[kept],
            keys=list(compress(self.keys, kept)),
            values=list(compress(self.values, kept)),
            intervals=intervals,
        )


@dataclass(frozen=True, slots=True)
class Reject:
    """One message that did not become a row: its index in the batch, where it failed and why. Never a value."""

    index: int
    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """d messages whose event was seen before: index in the batch, and the position of the first occurrence."""

    index: np.ndarray
    first_offsets: np.ndarray
    event_ids: pa.Array

    @classmethod
    def none(cls) -> Duplicates:
        empty = np.empty(0, np.int64)
        return cls(empty, empty, pa.array([], pa.string()))

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True, slots=True)
class StreamBatch:
    """A `MessageBatch` and what is known of it so far.

    Every message is in exactly one place: a row (`row_index` names it), `rejects`, `duplicates` or `withheld`; one that
    is in none has not been decoded yet.

    Attributes:
        tokens: subject token of each message by its Kafka key: dictionary<string>[n], null for device keys.
        subjects: the identifier in clear that each token stands for, in the same places; memory only.
        rows: the decoded rows, in the order of their messages; column names and types as the steps leave them.
        row_index: int64[rows], the index in `messages` of each row.
        withheld: int64[w], the index in `messages` of each that its patient's consent keeps out (withhold.py).
        is_set_aside: every message is a reject already, and no step may look at it (poison.py).
    """

    messages: MessageBatch
    tokens: pa.DictionaryArray | None = None
    subjects: pa.DictionaryArray | None = None
    rows: pa.Table | None = None
    row_index: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rejects: tuple[Reject, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates.none)
    withheld: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    is_set_aside: bool = False

    @property
    def nbytes(self) -> int:
        """Memory it holds, near enough to bound a queue: payloads and keys with their objects, positions, and rows."""
        held = list(filter(None, chain(self.messages.values, self.messages.keys)))
        payload = sum(map(len, held)) + _OBJECT_BYTES * len(held)
        return payload + _MESSAGE_BYTES * len(self.messages) + (self.rows.nbytes if self.rows is not None else 0)

    def without_payloads(self) -> StreamBatch:
        """The batch with the payloads and keys of rejects alone, which are sealed, and without identifiers in clear:
        what stands in a row needs neither any more."""
        at = [reject.index for reject in self.rejects]
        return replace(self, messages=self.messages.with_payloads_of(at), subjects=None)

    def keep(self, mask: np.ndarray, rejects: list[Reject]) -> StreamBatch:
        """The batch with only the rows of `mask` (bool[rows]) left and `rejects` added."""
        if self.rows is None or mask.all():
            return replace(self, rejects=self.rejects + tuple(rejects)) if rejects else self
        return replace(
            self,
            rows=self.rows.filter(pa.array(mask)),
            row_index=self.row_index[mask],
            rejects=self.rejects + tuple(rejects),
        )

    def beyond(self, starts: dict[int, int]) -> StreamBatch:
        """The part at or above `starts` (partition -> offset); itself where nothing lies below."""
        intervals = self.messages.intervals
        if all(starts.get(p, start) <= start for p, (start, _) in intervals.items()):
            return self
        cut = {p: (max(a, starts.get(p, a)), max(b, starts.get(p, b))) for p, (a, b) in intervals.items()}
        return self._part(self.messages.offsets >= self._bounds(starts, 0), cut)

    def below(self, ends: dict[int, int]) -> StreamBatch:
        """The part below `ends` (partition -> offset); itself where nothing lies beyond."""
        intervals = self.messages.intervals
        if all(end <= ends.get(p, end) for p, (_, end) in intervals.items()):
            return self
        cut = {p: (min(a, ends.get(p, b)), min(b, ends.get(p, b))) for p, (a, b) in intervals.items()}
        return self._part(self.messages.offsets < self._bounds(ends, np.iinfo(np.int64).max), cut)

    def without(self, indices: Iterable[int]) -> StreamBatch:
        """The batch without these messages and what is known of them; its positions as they are."""
        kept = np.ones(len(self.messages), bool)
        kept[list(indices)] = False
        return self._part(kept, self.messages.intervals)

    def _bounds(self, offsets: dict[int, int], otherwise: int) -> np.ndarray:
        """int64[n]: the offset given for each message's partition."""
        bounds = np.full(int(self.messages.partitions.max(initial=0)) + 1, otherwise, np.int64)
        for partition, offset in offsets.items():
            if partition < len(bounds):
                bounds[partition] = offset
        return bounds[self.messages.partitions]

    def _part(self, kept: np.ndarray, intervals: dict[int, tuple[int, int]]) -> StreamBatch:
        """Only the messages of `kept` (bool[n]) and what is known of them; `intervals` without the empty ones."""
        new_index = np.cumsum(kept) - 1
        rows_kept, duplicates_kept = kept[self.row_index], kept[self.duplicates.index]
        return replace(
            self,
            messages=self.messages.only(kept, {p: (a, b) for p, (a, b) in intervals.items() if a < b}),
            tokens=None if self.tokens is None else self.tokens.filter(pa.array(kept)),
            subjects=None if self.subjects is None else self.subjects.filter(pa.array(kept)),
            rows=None if self.rows is None else self.rows.filter(pa.array(rows_kept)),
            row_index=new_index[self.row_index[rows_kept]],
            rejects=tuple(replace(r, index=int(new_index[r.index])) for r in self.rejects if kept[r.index]),
            duplicates=Duplicates(
                new_index[self.duplicates.index[duplicates_kept]],
                self.duplicates.first_offsets[duplicates_kept],
                self.duplicates.event_ids.filter(pa.array(duplicates_kept)),
            ),
            withheld=new_index[self.withheld[kept[self.withheld]]],
        )
