"""Messages out of Kafka: a reader over partitions assigned by hand, and the restriction that tracks it.

Holds: consumer settings, the turning of messages into `MessageBatch`es, and what an error of the broker means.
Does not hold: the DoFn over it (steps.py), where to start (the lake says, see restore.py), or what a message means.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from typing import cast

import numpy as np
from apache_beam.coders import PickleCoder
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.transforms.core import RestrictionProvider
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from pipelines.batch import MessageBatch
from warehouse.settings import Settings

CONSUMER_GROUP = "wardstream"
# Messages of one call stay in the processor's cache while they are taken apart (measured: 500 to 4,000 are equal).
CALL_MESSAGES = 2_000
BATCH_MESSAGES = 20_000
BUNDLE_MESSAGES = 60_000

_WAIT_FOR_IDS_S = 1.0
"""How long one read waits for the broker to say that the topics are the same; then the next one waits on."""
_ASK_AGAIN_S = 5.0
"""How often the broker is asked while no message comes."""
_ASK_TIMEOUT_S = 10.0

# librdkafka mends these by itself; everything else ends the process, which starts again from the lake.
_PASSING = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.UNKNOWN,
    }
)

_IN_WORDS = {
    KafkaError._TRANSPORT: "does not answer",
    KafkaError._ALL_BROKERS_DOWN: "does not answer",
    KafkaError._TIMED_OUT: "does not answer in time",
    KafkaError._RESOLVE: "its name is not known",
}

Positions = dict[tuple[str, int], int]
"""(stream, partition) -> the next offset to read."""

_End = tuple[str, int, int]
"""(topic, partition, offset behind the last position)"""


class SourceError(RuntimeError):
    """Reading cannot go on from where the lake ends; the message says where and what to do."""


class BrokerUnavailableError(RuntimeError):
    """The broker did not answer; worth trying again."""


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What the broker says of a stream's topic: its id (KIP-516) and each partition's [low, high) offsets."""

    stream: str
    topic: str
    topic_id: str
    ranges: Mapping[int, tuple[int, int]]


def read_topic_facts(settings: Settings, streams: tuple[str, ...], timeout_s: float = 10.0) -> dict[str, TopicFacts]:
    """Ask the broker for ids and ranges. Raises `BrokerUnavailableError`, or `SourceError` for a missing topic."""
    admin = AdminClient(settings.kafka())
    consumer = Consumer(settings.kafka(**{"group.id": CONSUMER_GROUP}))
    try:
        return {stream: _topic_facts(settings, admin, consumer, stream, timeout_s) for stream in streams}
    finally:
        consumer.close()


def _topic_facts(settings, admin, consumer, stream: str, timeout_s: float) -> TopicFacts:
    topic = settings.topic(stream)
    try:
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)[topic].result()
        ranges = {
            p.id: consumer.get_watermark_offsets(TopicPartition(topic, p.id), timeout=timeout_s)
            for p in described.partitions
        }
    except Exception as error:
        if _code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise SourceError(f"topic {topic} does not exist; run `wardstream contracts apply`") from None
        raise BrokerUnavailableError(f"broker {settings.kafka_bootstrap} did not describe topic {topic}") from error
    return TopicFacts(stream, topic, str(described.topic_id), ranges)


def offsets_at(settings: Settings, fact: TopicFacts, moment_ms: int, timeout_s: float = 10.0) -> dict[int, int]:
    """Partition -> the first offset appended at or after a moment (milliseconds since 1970 UTC) that the broker still
    has; the partition's end where there is none. Raises `BrokerUnavailableError`."""
    consumer = Consumer(settings.kafka(**{"group.id": CONSUMER_GROUP}))
    try:
        asked = [TopicPartition(fact.topic, partition, max(0, moment_ms)) for partition in fact.ranges]
        found = {place.partition: place.offset for place in consumer.offsets_for_times(asked, timeout=timeout_s)}
    except KafkaException as error:
        raise BrokerUnavailableError(f"broker {settings.kafka_bootstrap} does not tell offsets by time") from error
    finally:
        consumer.close()
    return {p: found[p] if found.get(p, -1) >= 0 else high for p, (_, high) in fact.ranges.items()}


def by_topic_id(facts: Mapping[str, TopicFacts], positions: Positions) -> dict[tuple[str, int], int]:
    """(topic id, partition) -> offset: positions as tables know them."""
    return {(facts[stream].topic_id, partition): offset for (stream, partition), offset in positions.items()}


class TopicWatch:
    """Whether topics are still those whose ids were given; a name alone does not tell.

    librdkafka goes on with a topic that was deleted and created again without a word, if that is long enough. But an
    id never comes back: what was received before the broker was asked, and found to know the old id, is the old one's.
    """

    def __init__(self, settings: Settings, facts: Mapping[str, TopicFacts]) -> None:
        self._bootstrap = settings.kafka_bootstrap
        self._ids = {fact.topic: fact.topic_id for fact in facts.values()}
        self._partitions = {fact.topic: len(fact.ranges) for fact in facts.values()}
        self._admin = AdminClient(settings.kafka())
        self._answers: dict[str, Future] = {}
        self._asked_at = time.monotonic()
        self.trouble: str | None = None

    @property
    def is_asked(self) -> bool:
        return bool(self._answers)

    @property
    def silence_s(self) -> float:
        """Seconds since the broker was last asked."""
        return time.monotonic() - self._asked_at

    def ask(self) -> None:
        """Ask anew, whether or not an earlier question is answered."""
        topics = TopicCollection(list(self._ids))
        self._answers = dict(self._admin.describe_topics(topics, request_timeout=_ASK_TIMEOUT_S))
        self._asked_at = time.monotonic()

    def confirms(self, wait_s: float) -> bool:
        """Whether the broker has said that all topics are the same since it was asked. Without an answer `is_asked`
        stays; after a failure, which `trouble` names, it does not. Raises `SourceError` for other topics or none."""
        if wait(self._answers.values(), wait_s).not_done:
            return False
        answers, self._answers = self._answers, {}
        for topic, answer in answers.items():
            error = answer.exception()
            if error is None:
                described = answer.result()
                self._compare(topic, str(described.topic_id), len(described.partitions))
            elif _code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise SourceError(f"topic {topic} was deleted while it was read. {_WAY_OUT}")
            else:
                self.trouble = f"broker {self._bootstrap} did not describe topic {topic}: {_name(error)}"
                return False
        self.trouble = None
        return True

    def _compare(self, topic: str, topic_id: str, partitions: int) -> None:
        if topic_id != self._ids[topic]:
            was = self._ids[topic]
            raise SourceError(
                f"topic {topic} was deleted and created again: its id was {was}, is {topic_id}. {_WAY_OUT}"
            )
        if partitions != self._partitions[topic]:
            raise SourceError(
                f"topic {topic} had {self._partitions[topic]} partitions and has {partitions}: keys now go elsewhere. "
                "Partitions of a stream never change: make a new topic and replay this one into it "
                "(`wardstream replay --help`)"
            )


_WAY_OUT = (
    "What the lake has of the old topic stays; what it had not read yet is lost. Nothing of a new topic was taken for "
    "the old one's. To read a topic of this name from its beginning, start the stream again."
)


def _code(error: BaseException) -> int | None:
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else None
    return cause.code() if isinstance(cause, KafkaError) else None


def _name(error: BaseException) -> str:
    cause = error.args[0] if isinstance(error, KafkaException) and error.args else None
    return cause.name() if isinstance(cause, KafkaError) else type(error).__name__


class PartitionReader:
    """One consumer over partitions assigned by hand, from given positions on. One thread reads and closes; any may ask
    for `positions`, `trouble` and `ends`.

    A group is named only so that lag tools can see how far the lake is (`report`); nothing is ever resumed from it.

    Attributes:
        positions: behind the messages that `read` has handed out.
    """

    def __init__(self, settings: Settings, facts: Mapping[str, TopicFacts], start: Positions) -> None:
        self._by_topic = {fact.topic: fact for fact in facts.values()}
        self._topic_of = {fact.stream: fact.topic for fact in facts.values()}
        self._bootstrap = settings.kafka_bootstrap
        self.positions: Positions = dict(start)
        self._received: Positions = dict(start)
        self._held: list[MessageBatch] = []
        self._no_broker: str | None = None
        self._watch = TopicWatch(settings, facts)
        self._closing = threading.Lock()
        self._is_closed = False
        self._consumer = Consumer(settings.kafka(**_CONSUMER_OPTIONS, error_cb=self._note_error))
        self._consumer.assign([TopicPartition(self._topic_of[s], p, offset) for (s, p), offset in start.items()])

    @property
    def trouble(self) -> str | None:
        """Why nothing may be coming: what the broker, or its absence, gave as the reason; None when all is well."""
        return self._no_broker or self._watch.trouble

    def read(self, wait_s: float, linger_s: float, limit: int = BATCH_MESSAGES) -> list[MessageBatch]:
        """Up to `limit` messages: wait for the first, let others gather for `linger_s`, take what is there.

        A batch may be without messages, where a partition ends in positions that hold none. What was received is
        handed out once the broker has said that the topics are still the same, at the latest by a later call. Raises
        `SourceError` where the position, or the topic, is not there any more.
        """
        if not self._held:
            self._held = self._receive(wait_s, linger_s, limit)
            if not self._held:
                self._look_around()
                return []
            self._no_broker = None
            self._watch.ask()
        elif not self._watch.is_asked:
            self._watch.ask()
        if self._watch.confirms(_WAIT_FOR_IDS_S):
            return self._hand_out()
        if not self._watch.is_asked:
            time.sleep(wait_s)  # the broker refused, perhaps at once; it is asked again
        return []

    def _hand_out(self) -> list[MessageBatch]:
        batches, self._held = self._held, []
        for batch in batches:
            self.positions |= {(batch.stream, partition): end for partition, (_, end) in batch.intervals.items()}
        return batches

    def _look_around(self) -> None:
        """While nothing comes: are the topics and the broker still there? Never waits for the answer."""
        if self._watch.is_asked:
            if self._watch.confirms(0.0):
                self._no_broker = None
        elif self._watch.silence_s >= _ASK_AGAIN_S:
            self._watch.ask()

    def _note_error(self, error: KafkaError) -> None:
        words = _IN_WORDS.get(error.code(), error.name())
        self._no_broker = f"broker {self._bootstrap}: {words}; it is tried again"

    def _receive(self, wait_s: float, linger_s: float, limit: int) -> list[MessageBatch]:
        first = self._consumer.poll(wait_s)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(CALL_MESSAGES - 1, 0)]
        if len(messages) < CALL_MESSAGES and linger_s:
            time.sleep(linger_s)
            messages += self._consumer.consume(CALL_MESSAGES, 0)
        calls = [self._take(messages)]
        taken = len(messages)
        while len(messages) >= CALL_MESSAGES and taken < limit:
            messages = self._consumer.consume(CALL_MESSAGES, 0)
            taken += len(messages)
            calls.append(self._take(messages))
        return self._merge(calls)

    def _take(self, messages: list[Message]) -> list[MessageBatch]:
        """The messages of one call, one batch a topic. No bytecode runs per message."""
        ends: list[_End] = []
        if any(map(Message.error, messages)):
            messages, ends = self._sorted_out(messages)
        topics = {topic for topic in set(map(Message.topic, messages)) if topic is not None}
        if len(topics) == 1:
            batches = [self._batch(topics.pop(), messages)]
        else:
            batches = [self._batch(topic, [m for m in messages if m.topic() == topic]) for topic in sorted(topics)]
        return batches + [self._without_messages(end) for end in ends if self._is_beyond(end)]

    def _batch(self, topic: str, messages: list[Message]) -> MessageBatch:
        facts, n = self._by_topic[topic], len(messages)
        partitions = np.fromiter(map(Message.partition, messages), np.int32, n)
        offsets = np.fromiter(map(Message.offset, messages), np.int64, n)
        return MessageBatch(
            stream=facts.stream,
            topic_id=facts.topic_id,
            partitions=partitions,
            offsets=offsets,
            appended_ms=np.fromiter(map(itemgetter(1), map(Message.timestamp, messages)), np.int64, n),
            keys=list(map(Message.key, messages)),
            values=list(map(Message.value, messages)),
            intervals=self._advance(facts.stream, partitions, offsets),
        )

    def _advance(self, stream: str, partitions: np.ndarray, offsets: np.ndarray) -> dict[int, tuple[int, int]]:
        intervals = {}
        for partition in np.unique(partitions).tolist():
            ours = offsets[partitions == partition]
            start, end = self._received[stream, partition], int(ours[-1]) + 1
            if int(ours[0]) < start or (np.diff(ours) <= 0).any():
                raise SourceError(f"{stream} partition {partition}: offsets went backwards at {start}; restart")
            intervals[partition] = (start, end)
            self._received[stream, partition] = end
        return intervals

    def _is_beyond(self, end: _End) -> bool:
        """Whether a partition's end lies beyond its last message: behind a transaction's marker, or a compacted one."""
        topic, partition, offset = end
        return offset > self._received[self._by_topic[topic].stream, partition]

    def _without_messages(self, end: _End) -> MessageBatch:
        """What accounts for the positions up to a partition's end, which hold no message."""
        topic, partition, offset = end
        facts = self._by_topic[topic]
        start, self._received[facts.stream, partition] = self._received[facts.stream, partition], offset
        return MessageBatch.without_messages(facts.stream, facts.topic_id, {partition: (start, offset)})

    def _sorted_out(self, messages: list[Message]) -> tuple[list[Message], list[_End]]:
        """Those with a value, and the ends of partitions; raises for what librdkafka does not mend."""
        ends = []
        for message in messages:
            error = message.error()
            if error is not None and error.code() not in _PASSING:
                self._watch.ask()
                self._watch.confirms(_WAIT_FOR_IDS_S)  # that the topic is another one says more, if it is
                raise SourceError(_explain(error, message))
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                ends.append(cast("_End", (message.topic(), message.partition(), message.offset())))
        return [m for m in messages if m.error() is None], ends

    @staticmethod
    def _merge(calls: list[list[MessageBatch]]) -> list[MessageBatch]:
        by_stream: dict[str, list[MessageBatch]] = {}
        for batch in (batch for call in calls for batch in call):
            by_stream.setdefault(batch.stream, []).append(batch)
        return [_concatenate(batches) for batches in by_stream.values()]

    def ends(self) -> Positions:
        """The last known end of each partition, from the consumer's cache: no request. Empty when it is closed."""
        known: Positions = {}
        with self._closing:
            for (stream, partition), position in ({} if self._is_closed else dict(self.positions)).items():
                known[stream, partition] = max(self._cached_end(stream, partition), position)
        return known

    def lagging(self) -> frozenset[tuple[str, int]]:
        """Partitions of which more is known to be there than was read, or of which no end is known yet. No request."""
        with self._closing:
            if self._is_closed:
                return frozenset(self.positions)
            return frozenset(
                (stream, partition)
                for (stream, partition), position in dict(self.positions).items()
                if not 0 <= self._cached_end(stream, partition) <= position
            )

    def report(self, committed: Positions) -> None:
        """Tell the broker how far the lake is. Advisory: an answer is not waited for."""
        offsets = [TopicPartition(self._topic_of[s], p, o) for (s, p), o in committed.items() if s in self._topic_of]
        with self._closing:
            if offsets and not self._is_closed:
                self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        """May be called again."""
        with self._closing:
            if not self._is_closed:
                self._is_closed = True
                self._consumer.close()

    def _cached_end(self, stream: str, partition: int) -> int:
        """Negative before the first answer to a fetch."""
        place = TopicPartition(self._topic_of[stream], partition)
        return self._consumer.get_watermark_offsets(place, cached=True)[1]


class GroupOffsets:
    """Tells the broker how far the lake is with one stream, under a group of its own. Nothing is ever resumed from it:
    it is there for lag tools, and for whoever asks which consumer answers for a stream."""

    def __init__(self, settings: Settings, group: str, stream: str) -> None:
        self._stream, self._topic = stream, settings.topic(stream)
        self._told: Positions = {}
        self._consumer = Consumer(settings.kafka(**{"group.id": group, "enable.auto.commit": False}))

    def report(self, committed: Positions) -> None:
        """Advisory: an answer is not waited for. Positions of other streams are left out, and those told before."""
        ours = {at: offset for at, offset in committed.items() if at[0] == self._stream}
        new = [TopicPartition(self._topic, p, o) for (s, p), o in ours.items() if self._told.get((s, p)) != o]
        if new:
            self._told = ours
            self._consumer.commit(offsets=new, asynchronous=True)

    def close(self) -> None:
        self._consumer.close()


_CONSUMER_OPTIONS = {
    "group.id": CONSUMER_GROUP,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,  # the only word of how far it is beyond the last message
    "fetch.queue.backoff.ms": 10,  # the default of 1000 starves a batch consumer
    "fetch.wait.max.ms": 50,
    "fetch.min.bytes": 1,
    "queued.min.messages": 100_000,
    "queued.max.messages.kbytes": 65_536,
    "max.partition.fetch.bytes": 4 << 20,
}


def _explain(error: KafkaError, message: Message) -> str:
    where = f"{message.topic()} partition {message.partition()} offset {message.offset()}"
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        return (
            f"{where}: the broker no longer holds the position at which the lake ends, so messages are lost. "
            "Nothing was skipped. Restore the topic, or roll the tables forward on purpose."
        )
    return f"{where}: the broker refused the read: {error.name()}"


def _concatenate(batches: list[MessageBatch]) -> MessageBatch:
    if len(batches) == 1:
        return batches[0]
    intervals: dict[int, tuple[int, int]] = {}
    for batch in batches:
        for partition, (start, end) in batch.intervals.items():
            intervals[partition] = (intervals.get(partition, (start, end))[0], end)
    return MessageBatch(
        stream=batches[0].stream,
        topic_id=batches[0].topic_id,
        partitions=np.concatenate([b.partitions for b in batches]),
        offsets=np.concatenate([b.offsets for b in batches]),
        appended_ms=np.concatenate([b.appended_ms for b in batches]),
        keys=list(chain.from_iterable([b.keys for b in batches])),
        values=list(chain.from_iterable([b.values for b in batches])),
        intervals=intervals,
    )


@dataclass(frozen=True, slots=True)
class Shard:
    """Partitions that are read together: the same partition numbers of all its streams. Which, the process says.

    Attributes:
        until: for bounded runs (tests, benchmarks): (stream, partition) -> offset at which reading ends for good.
    """

    id: str
    streams: tuple[str, ...]
    until: tuple[tuple[str, int, int], ...] = field(default=())


class PositionTracker(RestrictionTracker):
    """Restriction: (positions, ended). Answers only a split at fraction 0 (a checkpoint), never one of the work."""

    def __init__(self, restriction: tuple[Positions, bool]) -> None:
        self._positions, self._ended = dict(restriction[0]), restriction[1]

    def current_restriction(self) -> tuple[Positions, bool]:
        return dict(self._positions), self._ended

    def try_claim(self, position: Positions | None) -> bool:
        """Claim up to these positions; None claims the end of everything."""
        if self._ended:
            return False
        if position is None:
            self._ended = True
            return False
        self._positions = dict(position)
        return True

    def try_split(self, fraction_of_remainder: float):
        if fraction_of_remainder or self._ended:
            return None
        self._ended = True
        return (dict(self._positions), True), (dict(self._positions), False)

    def check_done(self) -> None:
        if not self._ended:
            raise ValueError("the reader neither ended nor checkpointed")

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(completed=0, remaining=1)

    def is_bounded(self) -> bool:
        return False


class PositionProvider(RestrictionProvider):
    """A shard starts wherever the lake says when it is opened, so its first restriction is empty."""

    def initial_restriction(self, element: Shard) -> tuple[Positions, bool]:
        return {}, False

    def create_tracker(self, restriction) -> PositionTracker:
        return PositionTracker(restriction)

    def restriction_size(self, element: Shard, restriction) -> int:
        return 1

    def restriction_coder(self):
        return PickleCoder()
