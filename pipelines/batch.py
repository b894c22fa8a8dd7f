"""What flows along the graph: messages as read, and the same messages with what the steps found out about them.

Holds: the two element types and their Beam coder.
Does not hold: any step. A step is a pure function `StreamBatch -> StreamBatch` in a module of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa


@dataclass(frozen=True, slots=True)
class MessageBatch:
    """n messages of one topic as they were read, of one or several partitions of a shard.

    Attributes:
        stream: the contract's name, e.g. `device.vitals`.
        topic_id: Kafka's id of the topic (KIP-516), so that a recreated topic is another topic.
        partitions: int32[n].
        offsets: int64[n], strictly rising within a partition.
        appended_ms: int64[n], the broker's append time (LogAppendTime), milliseconds since 1970 UTC.
        keys, values: n byte strings or None, as on the wire; identifiers in clear, memory only.
        intervals: partition -> [start, next): the positions this batch accounts for. It may be wider than the
            offsets (transaction markers, compaction), never narrower.
    """

    stream: str
    topic_id: str
    partitions: np.ndarray
    offsets: np.ndarray
    appended_ms: np.ndarray
    keys: list[bytes | None]
    values: list[bytes | None]
    intervals: dict[int, tuple[int, int]]

    def __len__(self) -> int:
        return len(self.values)


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

    Every message is in exactly one place: a row (`row_index` names it), `rejects` or `duplicates`; a message that
    is in none has not been decoded yet.

    Attributes:
        tokens: subject token of each message by its Kafka key: dictionary<string>[n], null for device keys.
        rows: the decoded rows, in the order of their messages; column names and types as the steps leave them.
        row_index: int64[rows], the index in `messages` of each row.
    """

    messages: MessageBatch
    tokens: pa.DictionaryArray | None = None
    rows: pa.Table | None = None
    row_index: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    rejects: tuple[Reject, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates.none)

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
