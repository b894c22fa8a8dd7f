"""A broker in memory: topics with ids, partitions with holes, retention, compaction, recreation.

Holds: the logs, what was ever in them, and a reader over partitions assigned by hand that does what
`pipelines.source.PartitionReader` does.
Does not hold: when something is sent or goes away (machine.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipelines.batch import MessageBatch
from pipelines.source import BrokerUnavailableError, Positions, SourceError, TopicFacts
from tests.simulation.turns import EPOCH_S, OK, Turns

STREAM = "sim.readings"
BATCH = 24
BAD = "bad"


@dataclass(frozen=True, slots=True)
class Message:
    """`event` names the event (or `BAD`), `at_ms` is the broker's append time."""

    event: str
    at_ms: int


@dataclass(slots=True)
class Log:
    """One partition. `ever`: everything that was in it; `messages`: what is in it still."""

    low: int = 0
    high: int = 0
    messages: dict[int, Message] = field(default_factory=dict)
    compacted: set[int] = field(default_factory=set)
    ever: dict[int, Message] = field(default_factory=dict)

    def append(self, event: str, at_ms: int) -> None:
        self.messages[self.high] = self.ever[self.high] = Message(event, at_ms)
        self.high += 1

    def skip(self, n: int) -> None:
        """Positions without a message, as markers of transactions leave them."""
        self.high += n

    def retain_from(self, low: int) -> None:
        self.low = max(self.low, min(low, self.high))
        for offset in [o for o in self.messages if o < self.low]:
            del self.messages[offset]

    def compact(self, offsets: list[int]) -> None:
        for offset in offsets:
            if self.messages.pop(offset, None) is not None:
                self.compacted.add(offset)

    def read(self, start: int, most: int) -> list[tuple[int, Message]]:
        return sorted((o, m) for o, m in self.messages.items() if o >= start)[:most]


@dataclass(slots=True)
class Topic:
    id: str
    partitions: list[Log]


class Broker:
    """One topic, and every topic that bore its name before."""

    def __init__(self, turns: Turns, partitions: int) -> None:
        self._turns, self._made = turns, 0
        self.past: dict[str, Topic] = {}
        self.group: Positions = {}
        self.topic = self.recreate(partitions)

    def recreate(self, partitions: int) -> Topic:
        self._made += 1
        self.topic = Topic(f"topic-{self._made}", [Log() for _ in range(partitions)])
        self.past[self.topic.id] = self.topic
        return self.topic

    def now_ms(self) -> int:
        return int((EPOCH_S + self._turns.now) * 1000)

    def facts(self) -> TopicFacts:
        """Stands in for `pipelines.source.read_topic_facts`."""
        if self._turns.ask("facts") != OK:
            raise BrokerUnavailableError("no broker")
        ranges = {p: (log.low, log.high) for p, log in enumerate(self.topic.partitions)}
        return TopicFacts(STREAM, STREAM, self.topic.id, ranges)


class SimulatedReader:
    """Stands in for `pipelines.source.PartitionReader`: same positions, same refusals."""

    def __init__(self, broker: Broker, turns: Turns, facts: TopicFacts, start: Positions) -> None:
        self._broker, self._turns = broker, turns
        self._topic_id = facts.topic_id
        self.positions: Positions = dict(start)

    def close(self) -> None:
        """Nothing is held."""

    def read(self, wait_s: float, linger_s: float = 0.0, limit: int = 0) -> list[MessageBatch]:
        """Up to `BATCH` messages of all partitions; none after `wait_s` without any."""
        if self._turns.ask("read") != OK:
            return []
        if self._broker.topic.id != self._topic_id:
            raise SourceError("the topic is another one")
        if found := self._found(BATCH):
            return [self._batch(found)]
        if ends := self._ends():
            self._advance(ends)
            return [MessageBatch.without_messages(STREAM, self._topic_id, ends)]
        self._turns.ask("poll", self._turns.now + wait_s)
        return []

    def _found(self, most: int) -> list[tuple[int, int, Message]]:
        found = []
        for (_, partition), position in self.positions.items():
            log = self._log(partition, position)
            found += [(partition, offset, message) for offset, message in log.read(position, most - len(found))]
            if len(found) >= most:
                break
        return found

    def _log(self, partition: int, position: int) -> Log:
        log = self._broker.topic.partitions[partition]
        if position < log.low:
            raise SourceError(f"partition {partition}: the broker no longer holds position {position}")
        return log

    def _ends(self) -> dict[int, tuple[int, int]]:
        """Partitions whose rest holds no message any more: from where to where."""
        logs = {p: (position, self._log(p, position)) for (_, p), position in self.positions.items()}
        return {
            p: (position, log.high)
            for p, (position, log) in logs.items()
            if position < log.high and not log.read(position, 1)
        }

    def _advance(self, intervals: dict[int, tuple[int, int]]) -> None:
        for partition, (_, end) in intervals.items():
            self.positions[STREAM, partition] = self._broker.group[STREAM, partition] = end

    def _batch(self, found: list[tuple[int, int, Message]]) -> MessageBatch:
        intervals = {}
        for partition, offset, _ in found:
            intervals[partition] = (self.positions[STREAM, partition], offset + 1)
        self._advance(intervals)
        return MessageBatch(
            stream=STREAM,
            topic_id=self._topic_id,
            partitions=np.array([p for p, _, _ in found], np.int32),
            offsets=np.array([o for _, o, _ in found], np.int64),
            appended_ms=np.array([m.at_ms for _, _, m in found], np.int64),
            keys=[None] * len(found),
            values=[m.event.encode() for _, _, m in found],
            intervals=intervals,
        )
