"""Messages read again, from Kafka or as they were kept, through the very steps of the graph.

Holds: the two readings of a stretch of positions, and `Rebuild`, which makes of them what the graph would make.
Does not hold: a step of its own, which positions there are to read (replay_plan.py), what is done with the rows
(`assets/replay.py`).

What the tables say of a position is not asked: they are what is in question. Two things are: the first positions below
the stretch, from which the memory of duplicates is restored as after a restart; and which messages once ended the
process, since they would do so again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.replay_plan import Ranges
from pipelines.source import BrokerUnavailableError, PartitionReader, TopicFacts
from pipelines.stream_steps import StreamSteps
from warehouse.identity import RejectedMessage, RejectKeys, SealError, unseal_message
from warehouse.raw_messages import KeptMessages
from warehouse.settings import Settings

SILENCE_S = 60.0
_READ_MESSAGES = 20_000


class ReplayKeys:
    """The vault's keys for rows made again. Where the key of a day's rejects was destroyed, one of this moment takes
    its place, so that the row can be made; what it seals opens nowhere and must not be kept.

    Attributes:
        replaced: days whose key was.
    """

    def __init__(self, keys: RejectKeys) -> None:
        self._keys = keys
        self._passing: dict[date, bytes] = {}

    @property
    def replaced(self) -> frozenset[date]:
        return frozenset(self._passing)

    def data_keys(self, tokens: Iterable[str]) -> dict[str, bytes]:
        return self._keys.data_keys(tokens)

    def reject_key(self, day: date) -> bytes:
        kept = self._keys.reject_key(day)
        return kept if kept is not None else self._passing.setdefault(day, os.urandom(32))


def read_from_kafka(settings: Settings, fact: TopicFacts, ranges: Ranges) -> Iterator[MessageBatch]:
    """The messages of these stretches of a topic, in order within a partition.

    Raises `SourceError` where the broker let go of a position meanwhile or the topic is another one, and
    `BrokerUnavailableError` when nothing comes for `SILENCE_S`.
    """
    ends = {partition: end for partition, (start, end) in ranges.items() if start < end}
    if not ends:
        return
    starts = {(fact.stream, p): ranges[p][0] for p in ends}
    reader = PartitionReader(settings, {fact.stream: fact}, starts)
    heard_at = time.monotonic()
    try:
        while any(reader.positions[fact.stream, p] < end for p, end in ends.items()):
            for messages in reader.read(wait_s=0.5, linger_s=0.0, limit=_READ_MESSAGES):
                heard_at = time.monotonic()
                yield StreamBatch(messages).below(ends).messages
            if time.monotonic() - heard_at > SILENCE_S:
                raise BrokerUnavailableError(reader.trouble or f"topic {fact.topic} delivers nothing for {SILENCE_S} s")
    finally:
        reader.close()


@dataclass
class RawReading:
    """Messages as they were kept, opened.

    Attributes:
        closed: partition -> offsets of those that no key opens any more.
    """

    kept: KeptMessages
    stream: str
    keys: RejectKeys
    closed: dict[int, list[int]] = field(default_factory=dict)

    def read(self, ranges: Ranges) -> Iterator[MessageBatch]:
        """The messages of these stretches, in order within a partition. Raises what the vault raises."""
        for partition, span in sorted(ranges.items()):
            for start, end, rows in self.kept.windows(partition, span):
                yield self._opened(partition, (start, end), rows)

    def _opened(self, partition: int, span: tuple[int, int], rows: pa.Table) -> MessageBatch:
        sealed = zip(
            *(rows[name].to_pylist() for name in ("sealed_message", "sealed_under", "subject_token")), strict=True
        )
        messages = [self._message(*each) for each in sealed]
        offsets = rows["kafka_offset"].to_numpy()
        here = np.array([message is not None for message in messages], bool)
        if not here.all():
            self.closed.setdefault(partition, []).extend(offsets[~here].tolist())
        found = [message for message in messages if message is not None]
        return MessageBatch(
            stream=self.stream,
            topic_id=self.kept.topic_id,
            partitions=np.full(len(found), partition, np.int32),
            offsets=offsets[here],
            appended_ms=rows["kafka_time"].cast(pa.int64()).to_numpy()[here] // 1000,
            keys=[message.key for message in found],
            values=[message.value for message in found],
            intervals={partition: span},
        )

    def _message(self, sealed: bytes, under: str, token: str | None) -> RejectedMessage | None:
        try:
            return unseal_message(self.keys, self.stream, sealed, under, token)
        except SealError:
            return None


@dataclass
class Rebuild:
    """What the graph makes of messages, bar what it does with it.

    Attributes:
        steps: of the stream, their memory restored below the first of the messages.
        poison: partition -> offsets of messages that ended the process; no step sees them.
        messages: how many were worked.
    """

    steps: StreamSteps
    poison: Mapping[int, frozenset[int]]
    messages: int = 0

    def batches(self, messages: Iterable[MessageBatch]) -> Iterator[StreamBatch]:
        """Each batch with its rows, rejects and duplicates. A message is in exactly one batch."""
        for batch in messages:
            self.messages += len(batch)
            yield from self._worked(batch)

    def _worked(self, messages: MessageBatch) -> Iterator[StreamBatch]:
        poisoned = self._poisoned(messages)
        if poisoned.any():
            yield self.steps.set_aside(messages.only(poisoned, {}))
            messages = messages.only(~poisoned, messages.intervals)
        if len(messages):
            yield self.steps.all(messages)

    def _poisoned(self, messages: MessageBatch) -> np.ndarray:
        found = np.zeros(len(messages), bool)
        for partition, offsets in self.poison.items():
            found |= (messages.partitions == partition) & np.isin(messages.offsets, list(offsets))
        return found
