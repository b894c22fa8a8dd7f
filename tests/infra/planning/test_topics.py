"""What a standing topic may become: decided without a broker."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka import KafkaError, KafkaException

from infra.planning.topics import ObservedTopic, TopicChange, Topics, plan_groups, plan_topic
from warehouse.contract import load_contracts
from warehouse.settings import Settings

TOPICS = load_contracts().topics()
VITALS = next(topic for topic in TOPICS if topic.stream == "device.vitals")


def test_a_topic_that_is_its_contract_needs_nothing_whatever_else_the_broker_says() -> None:
    standing = ObservedTopic("device.vitals", 4, {**VITALS.config, "segment.bytes": "1"})
    assert plan_topic("device.vitals", VITALS, standing) == ([], [])


def test_a_missing_topic_is_created() -> None:
    changes, refusals = plan_topic("x.device.vitals", VITALS, None)
    assert (changes, refusals) == ([TopicChange("x.device.vitals", "create", "", None, "4 partitions")], [])


def test_one_entry_that_differs_is_set_alone() -> None:
    standing = ObservedTopic("device.vitals", 4, {**VITALS.config, "retention.ms": "1"})
    changes, refusals = plan_topic("device.vitals", VITALS, standing)
    assert [(c.key, c.before, c.after) for c in changes] == [("retention.ms", "1", "604800000")]
    assert refusals == []


def test_neither_more_nor_fewer_partitions_are_mended() -> None:
    for partitions in (3, 5):
        changes, refusals = plan_topic("device.vitals", VITALS, ObservedTopic("device.vitals", partitions, {}))
        assert changes == []
        assert "replay" in refusals[0].remedy


def test_topics_of_a_group_must_be_parted_alike() -> None:
    assert plan_groups(TOPICS) == []
    (refusal,) = plan_groups([*TOPICS, replace(VITALS, stream="iot.patient", partitions=8)])
    assert refusal.subject == "co-partition group patient"
    assert refusal.reason == "has topics of 4 (patient.consent.updates) and 8 (iot.patient) partitions"


def test_a_broker_that_is_away_is_named_with_what_to_do_and_no_code_of_a_library() -> None:
    own = Settings.from_environment({"WARDSTREAM_PORT_BASE": "1024"})
    sites = Settings.from_environment({"WARDSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:9"})
    for settings, remedy in ((own, "`wardstream up`"), (sites, "WARDSTREAM_KAFKA_BOOTSTRAP")):
        topics = Topics(settings)
        told = str(topics._unreachable(KafkaException(KafkaError(KafkaError._TRANSPORT))))
        assert told.startswith(f"Kafka at {settings.kafka_bootstrap} does not answer; ")
        assert remedy in told
        assert "_TRANSPORT" not in told


def test_tiered_storage_is_declared_where_class_and_site_have_it() -> None:
    tiered = replace(VITALS, tiered=True)
    standing = ObservedTopic("device.vitals", 4, VITALS.config)
    changes, refused = plan_topic("device.vitals", tiered, standing)
    assert refused == []
    assert {change.key: change.after for change in changes} == {
        "remote.storage.enable": "true",
        "local.retention.ms": str(2 * 86_400_000),
    }
    assert plan_topic("device.vitals", replace(tiered, local_retention_ms=None), standing) == ([], [])
    assert plan_topic("device.vitals", VITALS, standing) == ([], [])
