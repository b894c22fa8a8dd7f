"""Topics as the contracts declare them beside topics as the broker has them.

Holds: the observation, the pure plan, and the two safe changes: creating a topic and setting its configuration.
Does not hold: producing or consuming. Partitions are never added: a patient would move to another one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicMetadata,
)

from warehouse.contract import TopicContract
from warehouse.evolution import Refusal
from warehouse.settings import Settings

_SILENCE = frozenset({KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE})
"""librdkafka's own codes for a broker that was not there to answer."""

ANSWER_SECONDS = 15
REPLICAS = 3


class BrokerUnreachableError(Exception):
    """The broker did not answer. The message names its address."""


@dataclass(frozen=True, slots=True)
class ObservedTopic:
    """A topic as the broker has it; `config` holds every entry, defaults included."""

    name: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """`kind` is `create` (then `key` is empty) or `configure`."""

    topic: str
    kind: str
    key: str
    before: str | None
    after: str


class Topics:
    """The topics of one broker, through its admin interface. Every method raises `BrokerUnreachableError`."""

    def __init__(self, settings: Settings) -> None:
        self._address = settings.kafka_bootstrap
        self._remedy = (
            "`wardstream status` shows what is up, `wardstream up` starts it"
            if settings.embedded_kafka
            else "look whether it runs, and at WARDSTREAM_KAFKA_BOOTSTRAP and WARDSTREAM_KAFKA_OPTIONS"
        )
        options: dict[str, Any] = settings.kafka(**{"socket.timeout.ms": ANSWER_SECONDS * 1000, "log_level": 2})
        self._admin = AdminClient(options)

    def observe(self, names: Iterable[str]) -> dict[str, ObservedTopic]:
        """Those of the named topics that exist."""
        try:
            standing = self._admin.list_topics(timeout=ANSWER_SECONDS).topics
            found = [name for name in names if name in standing and standing[name].error is None]
            resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
            answers = self._admin.describe_configs(resources, request_timeout=ANSWER_SECONDS) if resources else {}
            configs = {resource.name: answer.result() for resource, answer in answers.items()}
        except KafkaException as failure:
            raise self._unreachable(failure) from None
        return {
            name: ObservedTopic(
                name,
                len(standing[name].partitions),
                {key: entry.value for key, entry in configs[name].items() if entry.value is not None},
            )
            for name in found
        }

    def create(self, topics: Mapping[str, TopicContract]) -> None:
        """Create topics in one request, each replicated over up to three brokers. One that somebody else made meanwhile
        is no error."""
        replicas = min(REPLICAS, len(self._listed().brokers))
        wanted = [NewTopic(name, topic.partitions, replicas, config=topic.config) for name, topic in topics.items()]
        made: dict[str, int] = {}
        for name, answer in self._admin.create_topics(wanted, request_timeout=ANSWER_SECONDS).items():
            try:
                answer.result()
                made[name] = topics[name].partitions
            except KafkaException as failure:
                if failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self._unreachable(failure) from None
        self._await(made)

    def configure(self, name: str, values: Mapping[str, str]) -> None:
        """Set some configuration entries; the others stay."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in values.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        try:
            for answer in self._admin.incremental_alter_configs([resource], request_timeout=ANSWER_SECONDS).values():
                answer.result()
        except KafkaException as failure:
            raise self._unreachable(failure) from None

    def _await(self, partitions: Mapping[str, int]) -> None:
        """Until every partition has a leader: the controller answers before the brokers know."""
        deadline = time.monotonic() + ANSWER_SECONDS
        waiting = dict(partitions)
        while waiting:
            listed = self._listed().topics
            waiting = {name: count for name, count in waiting.items() if not _is_led(listed.get(name), count)}
            if waiting and time.monotonic() > deadline:
                raise BrokerUnreachableError(
                    f"Kafka at {self._address} made topic {min(waiting)}, but it has no leaders yet; run again"
                )
            if waiting:
                time.sleep(0.05)

    def _listed(self) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException as failure:
            raise self._unreachable(failure) from None

    def _unreachable(self, failure: KafkaException) -> BrokerUnreachableError:
        code = failure.args[0].code()
        if code in _SILENCE:
            return BrokerUnreachableError(f"Kafka at {self._address} does not answer; {self._remedy}")
        return BrokerUnreachableError(
            f"Kafka at {self._address} answered {failure.args[0].name()}; mend that on the broker, or run again"
        )


def _is_led(topic: TopicMetadata | None, partitions: int) -> bool:
    """Whether the topic has so many partitions, each with a leader."""
    if topic is None or len(topic.partitions) != partitions:
        return False
    return all(partition.leader >= 0 for partition in topic.partitions.values())


def plan_topic(
    name: str, contract: TopicContract, standing: ObservedTopic | None
) -> tuple[list[TopicChange], list[Refusal]]:
    """What has to change for the topic to be its contract, and what of it is refused. Pure."""
    if standing is None:
        return [TopicChange(name, "create", "", None, f"{contract.partitions} partitions")], []
    if standing.partitions != contract.partitions:
        return [], [_repartitioned(name, contract, standing)]
    changes = [
        TopicChange(name, "configure", key, standing.config.get(key), value)
        for key, value in contract.config.items()
        if standing.config.get(key) != value
    ]
    return changes, []


def _repartitioned(name: str, contract: TopicContract, standing: ObservedTopic) -> Refusal:
    reason = f"has {standing.partitions} partitions, the contract says {contract.partitions}"
    way = (
        f"a patient would move between partitions of group {contract.copartition_group}: "
        "declare a stream of a new name with that many partitions, and replay into it"
    )
    return Refusal(f"topic {name}", reason, way)


def plan_groups(contracts: Iterable[TopicContract]) -> list[Refusal]:
    """Topics of one co-partition group have equally many partitions, or a shard would not own its patients."""
    groups: dict[str, dict[int, str]] = {}
    for contract in contracts:
        groups.setdefault(contract.copartition_group, {})[contract.partitions] = contract.stream
    return [
        Refusal(
            f"co-partition group {group}",
            "has topics of " + " and ".join(f"{n} ({stream})" for n, stream in sorted(counts.items())) + " partitions",
            "give all topics of the group the same number in their contracts",
        )
        for group, counts in groups.items()
        if len(counts) > 1
    ]
