"""Finding the message that ends the process each time, and setting it aside.

Holds: the record of what was at hand when a run died, when the next run goes carefully, how it narrows the suspicion.
Does not hold: the reading (steps.py), what becomes of a message set aside (stream_steps.py), restarts (infra).

A run that dies leaves behind what it had read beyond the lake. When runs die again and again from the same position,
the next one goes carefully: it takes a small piece at a time, notes it, and waits until the lake has it. The piece at
hand at the next death is the suspicion then, and is cut up in its turn, until it is a single message: that one is
convicted, becomes a reject with the reason `poison`, and everything goes on at full speed.

The record is a file of the process's home; losing it costs time, never a message.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipelines.batch import MessageBatch
from warehouse.whole_file import write_whole

_LOG = logging.getLogger(__name__)

DEATHS_AT_ONE_PLACE = 3
"""After so many the next run goes carefully."""
PIECES = 40
"""A suspicion is cut into so many: each costs a commit, each round a start."""

Place = tuple[str, int]
"""(topic id, partition)"""
Stretch = tuple[str, int, int, int]
"""topic id, partition, [start, end) of offsets"""


@dataclass(slots=True)
class Record:
    """What stands in the file.

    Attributes:
        starts: where the last run began: what the lake had then.
        deaths: how many runs in a row ended without a word, and began there.
        read: how far the last run had read.
        at_hand: the batch, or piece of one, that it took up last.
        suspects: what is cut into pieces; empty while nothing is suspected.
        convicted: (topic id, partition, offset) of each message set aside.
        ended: whether the last run ended in order, or with an error that no message is to blame for.
    """

    starts: dict[Place, int] = field(default_factory=dict)
    deaths: int = 0
    read: dict[Place, int] = field(default_factory=dict)
    at_hand: list[Stretch] = field(default_factory=list)
    suspects: list[Stretch] = field(default_factory=list)
    convicted: list[tuple[str, int, int]] = field(default_factory=list)
    ended: bool = True

    def encoded(self) -> str:
        starts, read = ([[*place, at] for place, at in sorted(each.items())] for each in (self.starts, self.read))
        return json.dumps([starts, self.deaths, read, self.at_hand, self.suspects, self.convicted, self.ended])

    @classmethod
    def decoded(cls, text: str) -> Record:
        starts, deaths, read, at_hand, suspects, convicted, ended = json.loads(text)
        return cls(
            {(t, p): offset for t, p, offset in starts},
            int(deaths),
            {(t, p): offset for t, p, offset in read},
            [tuple(s) for s in at_hand],
            [tuple(s) for s in suspects],
            [tuple(c) for c in convicted],
            bool(ended),
        )


class PoisonWatch:
    """Reads and keeps the record at `path`. For the thread that reads, but for what says otherwise."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._record = Record()
        self._began = False
        with suppress(OSError, ValueError, TypeError):
            self._record = Record.decoded(path.read_text())

    @property
    def is_careful(self) -> bool:
        return bool(self._record.suspects)

    @property
    def suspected(self) -> int:
        """How many positions are under suspicion."""
        return _size(self._record.suspects)

    @property
    def convicted(self) -> int:
        return len(self._record.convicted)

    def begins(self, starts: Mapping[Place, int]) -> None:
        """A run begins to read where the lake ends. Only the first call of a process counts."""
        if self._began:
            return
        self._began = True
        record = self._record
        at_one_place = not record.ended and all(record.starts.get(at) == offset for at, offset in starts.items())
        record.deaths = record.deaths + 1 if at_one_place else 0
        if record.suspects and not record.ended and record.at_hand:
            self._narrow()
        elif record.deaths >= DEATHS_AT_ONE_PLACE:
            record.suspects = [(*at, record.starts[at], end) for at, end in record.read.items()]
            _LOG.warning("%d runs died from one position; %d are under suspicion", record.deaths, self.suspected)
        record.starts, record.read, record.at_hand, record.ended = dict(starts), {}, [], False
        self._write()

    def ends(self) -> None:
        """The run ends in order, or with an error that no message is to blame for."""
        self._record.ended = True
        self._write()

    def takes(self, batch: MessageBatch) -> Iterator[MessageBatch]:
        """The batch in the pieces in which it is to be handled: as it is, unless something is suspected. What is at
        hand when a piece is asked for and the next one is not is what a death is blamed on."""
        for partition, (start, end) in batch.intervals.items():
            self._record.starts.setdefault((batch.topic_id, partition), start)
            self._record.read[batch.topic_id, partition] = end
        for piece in self._pieces(batch):
            self._record.at_hand = _stretches(piece)
            self._write()
            yield piece

    def apart(self, batch: MessageBatch) -> list[MessageBatch]:
        """The batch with each message that was set aside in a piece of its own; nothing is noted. For any thread."""
        alone = self._convicted_within(batch)
        return cut_up(batch, sorted(cut for i in alone for cut in (i, i + 1))) if alone else [batch]

    def is_convicted(self, batch: MessageBatch) -> bool:
        """Whether this piece is a message that was set aside: such a one always comes alone."""
        return len(batch) == 1 and bool(self._convicted_within(batch))

    def passed(self, settled: Mapping[Place, int]) -> None:
        """Drop the suspicion when the lake has everything that was under it: it was not the messages."""
        suspects = self._record.suspects
        if suspects and all(settled.get((t, p), 0) >= end for t, p, _, end in suspects):
            _LOG.warning("what was under suspicion is in the lake; going on at full speed")
            self._record.suspects, self._record.deaths = [], 0
            self._write()

    def _narrow(self) -> None:
        record = self._record
        suspects = _overlap(record.at_hand, record.suspects)
        if _size(suspects) == 1:
            (topic_id, partition, offset, _) = suspects[0]
            record.convicted.append((topic_id, partition, offset))
            record.suspects, record.deaths = [], 0
            _LOG.error("partition %d offset %d ends the process each time: set aside as a reject", partition, offset)
        elif suspects:
            record.suspects = suspects
            _LOG.warning("%d positions are still under suspicion", self.suspected)

    def _pieces(self, batch: MessageBatch) -> list[MessageBatch]:
        alone = self._convicted_within(batch)
        if not self.is_careful and not alone:
            return [batch]
        cuts = {cut for i in alone for cut in (i, i + 1)}
        if self.is_careful:
            size = max(1, -(-self.suspected // PIECES))
            under = _is_under(batch, self._record.suspects)
            cuts.update(np.flatnonzero(np.diff(under.astype(np.int8))) + 1)
            cuts.update(np.flatnonzero(under)[::size].tolist())
        return cut_up(batch, sorted(int(c) for c in cuts))

    def _convicted_within(self, batch: MessageBatch) -> list[int]:
        """The indices of messages that were set aside."""
        ours = [(p, offset) for t, p, offset in self._record.convicted if t == batch.topic_id]
        return [i for p, offset in ours for i in np.flatnonzero((batch.offsets == offset) & (batch.partitions == p))]

    def _write(self) -> None:
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, self._record.encoded())


def cut_up(batch: MessageBatch, cuts: list[int]) -> list[MessageBatch]:
    """The batch in pieces that begin at these message indices. Together they account for the same positions."""
    bounds = [0, *(c for c in cuts if 0 < c < len(batch)), len(batch)]
    pieces, reached = [], {p: start for p, (start, _) in batch.intervals.items()}
    for start, end in pairwise(bounds):
        is_last = end == len(batch)
        here = np.zeros(len(batch), bool)
        here[start:end] = True
        intervals = {}
        for partition, (_, whole_end) in batch.intervals.items():
            ours = batch.offsets[here & (batch.partitions == partition)]
            to = whole_end if is_last else (int(ours[-1]) + 1 if len(ours) else reached[partition])
            if to > reached[partition]:
                intervals[partition] = (reached[partition], to)
                reached[partition] = to
        pieces.append(batch.only(here, intervals))
    return pieces


def emptied(batch: MessageBatch) -> MessageBatch:
    """The same positions without what stands there: nothing of a message that was set aside is looked at."""
    return replace(batch, keys=[None] * len(batch), values=[b""] * len(batch))


def _stretches(batch: MessageBatch) -> list[Stretch]:
    """From the first to the last message of each partition; positions without a message kill nobody."""
    offsets = {p: batch.offsets[batch.partitions == p] for p in np.unique(batch.partitions).tolist()}
    return [(batch.topic_id, p, int(ours[0]), int(ours[-1]) + 1) for p, ours in offsets.items()]


def _overlap(these: list[Stretch], those: list[Stretch]) -> list[Stretch]:
    pairs = [(a, b) for a in these for b in those if a[:2] == b[:2]]
    cut = [(a[0], a[1], max(a[2], b[2]), min(a[3], b[3])) for a, b in pairs]
    return [stretch for stretch in cut if stretch[2] < stretch[3]]


def _size(stretches: list[Stretch]) -> int:
    return sum(end - start for _, _, start, end in stretches)


def _is_under(batch: MessageBatch, suspects: list[Stretch]) -> np.ndarray:
    """bool[n]: the messages under suspicion."""
    under = np.zeros(len(batch), bool)
    for topic_id, partition, start, end in suspects:
        if topic_id == batch.topic_id:
            under |= (batch.partitions == partition) & (batch.offsets >= start) & (batch.offsets < end)
    return under
