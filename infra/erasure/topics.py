"""Topics as stores of people: what of them there is, what can go at once, and when the rest has gone.

Holds: the reading of keys, delete-records, and the arithmetic of a topic's last instant.
Does not hold: producing, or any change of a topic's configuration.

Kafka deletes whole segments, from the oldest on. Messages of a person that stand before everybody else's can be deleted
at once; the others go with their segment: at the latest one roll and one retention after the last of them, and one look
of the broker's later. That instant is named, and a verifier looks after it.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from infra.erasure.identifiers import Identifiers
from warehouse.contract import TopicContract
from warehouse.erasure.stores import Erased, Found, NotYetError, Subject
from warehouse.settings import Settings

ANSWER_SECONDS = 15.0
SILENCE_SECONDS = 30.0
POLL_SECONDS = 0.2
BATCH = 10_000
LOOK_MS = 300_000
_READING = {
    "group.id": "wardstream-erasure",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.queue.backoff.ms": 10,
}


Configs = tuple[dict[str, str], dict[str, str]]
"""What the topic goes by, and what the broker does."""


class TopicUnreadableError(Exception):
    """The broker does not answer, or not to the end. Names the topic and the kind of failure."""


@dataclass(slots=True)
class Seen:
    """What of people stands in a topic. `first_others`: partition -> the first position of anybody else."""

    counts: Counter[str] = field(default_factory=Counter)
    last: dict[int, int] = field(default_factory=dict)
    lows: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    first_others: dict[int, int] = field(default_factory=dict)
    newest_ms: int = 0


def deletable(seen: Seen, read: Mapping[int, int]) -> dict[int, int]:
    """Partition -> the position below which everything is theirs, and read by every table (`read`); those where nothing
    is are left out."""
    theirs = {p: min(seen.first_others.get(p, seen.ends[p]), read.get(p, 0)) for p in seen.last}
    return {p: at for p, at in theirs.items() if at > seen.lows[p]}


def gone_by(newest_ms: int, topic: Mapping[str, str], broker: Mapping[str, str]) -> datetime:
    """The instant by which a broker of this configuration has deleted a message that was appended then: its segment is
    open for one `segment.ms` at most, what came last into it is kept for `retention.ms`, and then the broker has to
    look, and to let the file go."""
    return datetime.fromtimestamp(newest_ms / 1000, UTC) + timedelta(milliseconds=kept_ms(topic, broker))


def kept_ms(topic: Mapping[str, str], broker: Mapping[str, str]) -> int:
    """How long a broker of this configuration has a message at the most, from its append on."""
    kept = sum(int(topic[name]) for name in ("segment.ms", "retention.ms", "file.delete.delay.ms"))
    return kept + int(broker.get("log.retention.check.interval.ms", LOOK_MS))


def keeps_for_ever(topic: Mapping[str, str]) -> str:
    """Why a topic of this configuration lets nothing go by its age; empty where it does."""
    if int(topic["retention.ms"]) < 0:
        return "keeps messages for ever (retention.ms is -1)"
    if "delete" not in topic.get("cleanup.policy", "delete"):
        return "deletes nothing (cleanup.policy is compact)"
    if topic.get("remote.storage.enable") == "true":
        return "keeps copies in a store of its broker's (remote.storage.enable)"
    return ""


@dataclass(slots=True)
class TopicStore:
    """One topic. `identifiers`: whose a key is; keys are read, asked about and forgotten. `read_to`: partition -> what
    every table the topic feeds has come to: beyond it nothing may be deleted, or the stream would find a gap."""

    settings: Settings
    topic: TopicContract
    identifiers: Identifiers
    read_to: Callable[[], Mapping[int, int]]
    now_ms: Callable[[], int] = lambda: int(time.time() * 1000)

    @property
    def name(self) -> str:
        return f"topic:{self.topic.stream}"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Messages under their keys. Reads the topic from its beginning to where it ends now.

        Raises `TopicUnreadableError`."""
        return self._found(self._read(subjects))

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Delete what stands before everybody else's; the rest goes by itself (`prove` says until when), and so does
        all of who has come back meanwhile: under their key lie messages of today too."""
        seen = self._read(subjects)
        before = sum(seen.counts.values())
        apart = seen.last and not self.identifiers.have_come_back(subjects)
        marks = deletable(seen, self.read_to()) if apart else {}
        evidence: dict[str, Any] = {"low_marks": {str(p): offset for p, offset in marks.items()}}
        if marks:
            # No count tells of them any more, and their bytes lie in a segment until it goes.
            evidence |= self._found(seen).told()
            self._delete(marks)
            seen = self._read(subjects)
        return Erased(before, sum(seen.counts.values()), evidence=evidence)

    def prove(self, subjects: Collection[Subject]) -> Found:
        """What is there now and the instant by which it is gone; and how long the topic keeps anything now, by which
        what was deleted before is gone too."""
        seen, (topic, broker) = self._read(subjects), self._configs()
        found = self._found(seen, (topic, broker))
        kept = {} if keeps_for_ever(topic) else {"kept_ms": kept_ms(topic, broker)}
        return replace(found, evidence={**found.evidence, **kept})

    # --- asking the broker

    def _read(self, subjects: Collection[Subject]) -> Seen:
        seen = Seen()
        self.identifiers.about(subjects)
        pattern = re.compile(self.topic.key_pattern or "(?!)")
        consumer = Consumer(self.settings.kafka(**_READING))
        try:
            for message in self._messages(consumer, seen):
                key = (message.key() or b"").decode(errors="replace")
                request = self.identifiers.request_of(key) if pattern.fullmatch(key) else None
                partition, offset = message.partition(), message.offset()
                if request is None:
                    seen.first_others.setdefault(partition, offset)
                    continue
                seen.counts[request] += 1
                seen.last[partition] = offset
                seen.newest_ms = max(seen.newest_ms, message.timestamp()[1])
        except KafkaException as error:
            raise TopicUnreadableError(f"{self.name}: the broker answered {error.args[0].name()}") from None
        finally:
            consumer.close()
        return seen

    def _messages(self, consumer: Consumer, seen: Seen) -> Any:
        """Every message between the low marks and the ends of this moment."""
        name = self.settings.topic(self.topic.stream)
        for partition in range(self.topic.partitions):
            place = TopicPartition(name, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=ANSWER_SECONDS)
            seen.lows[partition], seen.ends[partition] = low, high
        waiting = {p for p, high in seen.ends.items() if high > seen.lows[p]}
        if not waiting:
            return
        consumer.assign([TopicPartition(name, partition, seen.lows[partition]) for partition in waiting])
        heard_at = time.monotonic()
        while waiting:
            # Asked for many, the client waits for all of them; so it waits for the first, and takes what is there.
            first = consumer.poll(POLL_SECONDS)
            messages: list[Message] = [first, *consumer.consume(BATCH, 0)] if first is not None else []
            if not messages and time.monotonic() - heard_at > SILENCE_SECONDS:
                raise TopicUnreadableError(f"{self.name}: nothing came for {SILENCE_SECONDS:.0f} s; run this again")
            heard_at = time.monotonic() if messages else heard_at
            for message in messages:
                if error := message.error():
                    raise TopicUnreadableError(f"{self.name}: the broker answered {error.name()}")
                if (message.offset() or 0) < seen.ends[message.partition() or 0]:
                    yield message
            at = consumer.position([TopicPartition(name, partition) for partition in waiting])
            waiting -= {place.partition for place in at if place.offset >= seen.ends[place.partition]}

    def _delete(self, marks: Mapping[int, int]) -> None:
        name, admin = self.settings.topic(self.topic.stream), self._admin()
        places = [TopicPartition(name, partition, at) for partition, at in marks.items()]
        try:
            for answer in admin.delete_records(places).values():
                answer.result(ANSWER_SECONDS)
        except KafkaException as error:
            raise TopicUnreadableError(f"{self.name}: records were not deleted ({error.args[0].name()})") from None

    def _found(self, seen: Seen, configs: Configs | None = None) -> Found:
        """What a verifier holds against the broker: where the last of theirs stands in each partition, when the newest
        was appended at the latest (milliseconds since 1970), and the instant by which the broker has deleted it. Raises
        `NotYetError` where the topic's configuration gives none."""
        if not seen.counts:
            return Found({})
        topic, broker = configs or self._configs()
        if why := keeps_for_ever(topic):
            raise NotYetError(f"{self.name} {why}: nobody can say when it has let go; mend that, then run this again")
        # By a producer's clock nobody knows when a message was appended, but that it was before now.
        by_producers = topic.get("message.timestamp.type") == "CreateTime"
        newest_ms = max(seen.newest_ms, self.now_ms()) if by_producers else seen.newest_ms
        evidence = {
            "topic": self.settings.topic(self.topic.stream),
            "last_offsets": {str(p): offset for p, offset in sorted(seen.last.items())},
            "newest_ms": newest_ms,
        }
        return Found(dict(seen.counts), evidence, gone_by(newest_ms, topic, broker))

    def _configs(self) -> Configs:
        topic = self._config(ResourceType.TOPIC, self.settings.topic(self.topic.stream))
        return topic, self._config(ResourceType.BROKER, str(self._broker()))

    def _config(self, kind: ResourceType, name: str) -> dict[str, str]:
        resource = ConfigResource(kind, name)
        # The client must live until its answer has come.
        admin = self._admin()
        try:
            found = admin.describe_configs([resource], request_timeout=ANSWER_SECONDS)[resource].result()
        except KafkaException as error:
            raise TopicUnreadableError(f"{self.name}: its configuration is not told ({error.args[0].name()})") from None
        return {key: entry.value for key, entry in found.items() if entry.value is not None}

    def _broker(self) -> int:
        admin = self._admin()
        return min(admin.list_topics(timeout=ANSWER_SECONDS).brokers)

    def _admin(self) -> AdminClient:
        return AdminClient(self.settings.kafka(**{"log_level": 2}))


@dataclass(slots=True)
class TopicReading:
    """How far the topics that name people are written, and how far the tables they feed have read them."""

    settings: Settings
    streams: tuple[str, ...]
    vectors: Any
    """() -> table -> (streams it is fed by, its vector)"""

    def ends(self) -> dict[str, dict[int, int]]:
        return {
            fact.topic_id: {partition: high for partition, (_, high) in fact.ranges.items()} for fact in self._facts()
        }

    def behind(self, ends: Mapping[str, Mapping[int, int]]) -> list[str]:
        """Tables that have not come to these positions of the topics as they are now."""
        found, vectors = [], self.vectors()
        for fact in self._facts():
            for table, (streams, vector) in vectors.items():
                if fact.stream not in streams:
                    continue
                reached = vector.get(fact.topic_id, {})
                left = sum(max(0, end - reached.get(p, 0)) for p, end in ends.get(fact.topic_id, {}).items())
                if left:
                    found.append(f"{left} positions of {fact.stream} for {table}")
        return found

    def read_to(self, stream: str) -> dict[int, int]:
        """Partition -> the least position that a table which this topic feeds has come to."""
        (fact,) = [each for each in self._facts() if each.stream == stream]
        reached = [vector.get(fact.topic_id, {}) for streams, vector in self.vectors().values() if stream in streams]
        return {partition: min(each.get(partition, 0) for each in reached) for partition in fact.ranges if reached}

    def _facts(self) -> list[Any]:
        from pipelines.source import BrokerUnavailableError, SourceError, read_topic_facts

        try:
            return list(read_topic_facts(self.settings, self.streams).values())
        except (BrokerUnavailableError, SourceError) as error:
            raise TopicUnreadableError(str(error)) from None


def standing_topics(settings: Settings) -> list[str]:
    """Streams whose topics the broker has under our prefix; none where the broker is a site's and there is no prefix:
    nobody can tell then which are ours."""
    if not settings.topic_prefix and not settings.embedded_kafka:
        return []
    try:
        found = AdminClient(settings.kafka(**{"log_level": 2})).list_topics(timeout=ANSWER_SECONDS).topics
    except KafkaException as error:
        raise TopicUnreadableError(f"the broker does not list its topics ({error.args[0].name()})") from None
    prefix = settings.topic_prefix
    return [name.removeprefix(prefix) for name in found if name.startswith(prefix) and not name.startswith("__")]
