"""The reader on a real broker: positions beyond the last message, brokers that are away, topics made anew."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from infra.services import java
from infra.services.kafka import EmbeddedKafka
from infra.services.processes import Child
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.normalise import normalise
from pipelines.pseudonymise import pseudonymise
from pipelines.source import PartitionReader, SourceError, TopicFacts, read_topic_facts
from pipelines.validate import validate
from tests.pipelines.messages import KEY, VITALS, tokenizer
from warehouse.settings import Settings

STREAM = "device.vitals"


@pytest.fixture
def topic(kafka: str, settings: Settings) -> str:
    """An empty topic of two partitions."""
    name = settings.topic(STREAM)
    create(settings, name)
    return name


def create(settings: Settings, topic: str) -> None:
    admin = AdminClient(settings.kafka())
    admin.create_topics([NewTopic(topic, 2, 1)])[topic].result()
    wait_until(lambda: topic in admin.list_topics(timeout=10).topics)


def wait_until(holds, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def produce(settings: Settings, topic: str, n: int, partition: int = 0) -> None:
    producer = Producer(settings.kafka())
    for number in range(n):
        producer.produce(topic, b"%d" % number, b"P000123", partition=partition)
    assert producer.flush(10) == 0


def facts_of(settings: Settings) -> dict[str, TopicFacts]:
    return read_topic_facts(settings, (STREAM,))


@contextmanager
def reading(settings: Settings, facts: dict[str, TopicFacts] | None = None) -> Iterator[PartitionReader]:
    reader = PartitionReader(settings, facts or facts_of(settings), {(STREAM, 0): 0, (STREAM, 1): 0})
    try:
        yield reader
    finally:
        reader.close()


def read_until(reader: PartitionReader, positions: dict[int, int]) -> list[MessageBatch]:
    """What is read until the reader stands there."""
    batches: list[MessageBatch] = []
    wanted = {(STREAM, partition): offset for partition, offset in positions.items()}
    wait_until(lambda: batches.extend(reader.read(0.2, 0.0)) or wanted.items() <= reader.positions.items())
    return batches


def test_positions_and_intervals_pass_a_transactions_marker_at_the_end(settings: Settings, topic: str) -> None:
    producer = Producer(settings.kafka(**{"transactional.id": uuid.uuid4().hex}))
    producer.init_transactions(30)
    for aborted in (False, True):
        producer.begin_transaction()
        producer.produce(topic, b"1", b"P000123", partition=0)
        producer.produce(topic, b"2", b"P000123", partition=0)
        assert producer.flush(10) == 0
        producer.abort_transaction(30) if aborted else producer.commit_transaction(30)
    with reading(settings) as reader:
        batches = read_until(reader, {0: 6})
        lasting = reader.read(0.2, 0.0)
    assert [offset for batch in batches for offset in batch.offsets.tolist()] == [0, 1]
    intervals = [batch.intervals[0] for batch in batches]
    assert (intervals[0][0], intervals[-1][1]) == (0, 6)
    assert [end for _, end in intervals[:-1]] == [start for start, _ in intervals[1:]]
    assert lasting == []


def test_an_end_that_is_only_the_last_message_makes_no_batch_of_its_own(settings: Settings, topic: str) -> None:
    produce(settings, topic, 3)
    with reading(settings) as reader:
        batches = read_until(reader, {0: 3})
        batches += reader.read(0.5, 0.0) + reader.read(0.5, 0.0)
    assert [len(batch) for batch in batches] == [3]


def test_every_step_bears_a_batch_without_messages() -> None:
    batch = StreamBatch(MessageBatch.without_messages(STREAM, "id", {0: (5, 7)}))
    batch = JsonDecoder(VITALS).decode(pseudonymise(batch, tokenizer(), VITALS))
    batch = deduplicate(validate(normalise(batch, VITALS), VITALS), FirstPositions(8, 60, KEY), VITALS)
    assert batch.rows is not None
    assert (batch.rows.num_rows, len(batch.rejects), len(batch.duplicates)) == (0, 0, 0)
    assert batch.messages.intervals == {0: (5, 7)}
    assert batch.beyond({0: 6}).messages.intervals == {0: (6, 7)}
    assert batch.below({0: 6}).messages.intervals == {0: (5, 6)}
    assert batch.messages.partitions.dtype == np.int32


def recreate(settings: Settings, topic: str) -> None:
    admin = AdminClient(settings.kafka())
    admin.delete_topics([topic])[topic].result()
    wait_until(lambda: topic not in admin.list_topics(timeout=10).topics)
    create(settings, topic)


@pytest.mark.parametrize("length", [0, 50])
def test_messages_of_a_topic_made_anew_are_never_the_old_ones(settings: Settings, topic: str, length: int) -> None:
    produce(settings, topic, 5)
    with reading(settings) as reader:
        read_until(reader, {0: 5})
        recreate(settings, topic)
        produce(settings, topic, length)
        late: list[MessageBatch] = []
        with pytest.raises(SourceError, match="deleted") as refused:
            wait_until(lambda: late.extend(reader.read(0.2, 0.0)))
        assert late == []
        assert reader.positions[STREAM, 0] == 5
    assert "start the stream again" in str(refused.value)


def test_a_topic_made_anew_and_longer_is_refused_too(settings: Settings, topic: str) -> None:
    """The client is away meanwhile, so it sees no error at all: it would go on at offset 5 of the new topic."""
    produce(settings, topic, 5)
    facts = facts_of(settings)
    recreate(settings, topic)
    produce(settings, topic, 50)
    with reading(settings, facts) as reader, pytest.raises(SourceError, match="created again"):
        wait_until(lambda: reader.read(0.2, 0.0))


def test_a_topic_that_is_gone_is_noticed_without_a_message(
    settings: Settings, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.source._ASK_AGAIN_S", 0.2)
    with reading(settings) as reader:
        reader.read(0.2, 0.0)
        admin = AdminClient(settings.kafka())
        admin.delete_topics([topic])[topic].result()
        with pytest.raises(SourceError, match="deleted while it was read"):
            wait_until(lambda: reader.read(0.2, 0.0))


def test_partitions_that_were_added_stop_the_reading_and_the_way_out_is_told(settings: Settings, topic: str) -> None:
    produce(settings, topic, 5)
    with reading(settings) as reader:
        read_until(reader, {0: 5})
        admin = AdminClient(settings.kafka())
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
        with pytest.raises(SourceError, match="make a new topic"):
            wait_until(lambda: produce(settings, topic, 1) or (reader.read(0.2, 0.0) and None))


def test_a_broker_that_is_away_is_named_until_it_answers_again(
    kafka_jars: Path, free_port_base: Callable[[], int], settings: Settings, tmp_path: Path
) -> None:
    broker = EmbeddedKafka(tmp_path / "kafka", free_port_base(), java.find_java(), kafka_jars)
    own = replace(settings, kafka_bootstrap=broker.bootstrap)
    with running(broker, tmp_path):
        create(own, own.topic(STREAM))
        produce(own, own.topic(STREAM), 2)
        facts = facts_of(own)
        reader = PartitionReader(own, facts, {(STREAM, 0): 0, (STREAM, 1): 0})
        read_until(reader, {0: 2})
        assert reader.trouble is None
    wait_until(lambda: reader.read(0.1, 0.0) == [] and reader.trouble)
    assert f"broker {broker.bootstrap}" in reader.trouble
    assert "does not answer" in reader.trouble or "did not describe" in reader.trouble
    with running(broker, tmp_path):
        wait_until(lambda: reader.read(0.1, 0.0) == [] and reader.trouble is None, seconds=40)
        produce(own, own.topic(STREAM), 1)
        assert sum(map(len, read_until(reader, {0: 3}))) == 1
        reader.close()


@contextmanager
def running(broker: EmbeddedKafka, folder: Path) -> Iterator[None]:
    child = Child.start(broker.program(folder / "kafka.log"))
    try:
        child.wait_ready()
        yield
    finally:
        child.kill()


def test_the_ends_may_be_asked_for_while_the_reader_is_closed(settings: Settings, topic: str) -> None:
    """With librdkafka's handle taken away between two of its calls the process would end, not the test fail."""
    produce(settings, topic, 3)
    facts, seen, over = facts_of(settings), [], threading.Event()
    current: list[PartitionReader] = []

    def ask() -> None:
        while not over.is_set():
            seen.extend(reader.ends().get((STREAM, 0), -1) for reader in current[-2:])

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(10):
        with reading(settings, facts) as reader:
            current.append(reader)
            read_until(reader, {0: 3})
    over.set()
    asking.join()
    assert {-1, 3} <= set(seen)
    assert current[0].ends() == {}
    current[0].report({(STREAM, 0): 3})


def test_a_partition_lags_until_its_end_is_known_and_read(settings: Settings, topic: str) -> None:
    both = {(STREAM, 0), (STREAM, 1)}
    produce(settings, topic, 3)
    with reading(settings) as reader:
        assert reader.lagging() == both, "nothing is known before the first answer"
        read_until(reader, {0: 3})
        wait_until(lambda: reader.read(0.1, 0.0) == [] and reader.lagging() == frozenset())
        produce(settings, topic, 2, partition=1)
        wait_until(lambda: reader.lagging() == {(STREAM, 1)})
        read_until(reader, {1: 2})
        wait_until(lambda: reader.read(0.1, 0.0) == [] and reader.lagging() == frozenset())
    assert reader.lagging() == both, "a closed reader has read nothing to its end"
