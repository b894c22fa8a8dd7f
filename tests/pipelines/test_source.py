"""The reader on a real broker: positions beyond the last message, brokers that are away, topics made anew."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.normalise import normalise
from pipelines.pseudonymise import pseudonymise
from pipelines.source import PartitionReader, TopicFacts, read_topic_facts
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
    assert intervals[0][0] == 0 and intervals[-1][1] == 6
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
    assert batch.rows is not None and batch.rows.num_rows == 0 and not batch.rejects and not len(batch.duplicates)
    assert batch.messages.intervals == {0: (5, 7)}
    assert batch.beyond({0: 6}).messages.intervals == {0: (6, 7)}
    assert batch.below({0: 6}).messages.intervals == {0: (5, 6)}
    assert batch.nbytes >= 0 and batch.messages.partitions.dtype == np.int32
