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

    def create(self, name: str, contract: TopicContract) -> bool:
        """Create a topic, replicated over up to three brokers. False if somebody else was faster."""
        brokers = len(self._listed().brokers)
        topic = NewTopic(name, contract.partitions, min(REPLICAS, brokers), config=contract.config)
        try:
            self._admin.create_topics([topic], request_timeout=ANSWER_SECONDS)[name].result()
        except KafkaException as failure:
            if failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise self._unreachable(failure) from None
        self._await(name, contract.partitions)
        return True

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

    def _await(self, name: str, partitions: int) -> None:
        """Until every partition has a leader: the controller answers before the brokers know."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            topic = self._listed().topics.get(name)
            if topic and len(topic.partitions) == partitions and all(p.leader >= 0 for p in topic.partitions.values()):
                return
            time.sleep(0.05)
        raise BrokerUnreachableError(
            f"Kafka at {self._address} made topic {name}, but it has no leaders yet; run again"
        )

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
