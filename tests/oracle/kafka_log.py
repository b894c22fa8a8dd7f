"""Reads whole topics: every message between a partition's first and next offset, and Kafka's own word on both.

Holds: the consumer and the columns of a log.
Does not hold: what a message means (`message` and the readers of each stream).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from .history import Stream
from .message import PATIENT_KEY

Reader = Callable[[Sequence[bytes | None], Sequence[bytes | None], np.ndarray], pa.Table]

CHUNK = 20_000
PATIENCE_S = 60.0


def read_topic(kafka: Mapping[str, object], stream: str, topic: str, reader: Reader) -> Stream:
    """The whole topic. Raises `TimeoutError` where the broker stops delivering before the end, KafkaException else."""
    settings = {"enable.auto.commit": False, "isolation.level": "read_committed", "fetch.queue.backoff.ms": 10}
    consumer = Consumer({**kafka, "group.id": "oracle", "auto.offset.reset": "error", **settings})
    try:
        topic_id, partitions = _describe(kafka, topic)
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=30) for p in partitions}
        consumer.assign([TopicPartition(topic, p, low) for p, (low, high) in ends.items() if high > low])
        chunks = [_columns(messages, reader) for messages in _until(consumer, topic, ends)]
    finally:
        consumer.close()
    log = pa.concat_tables(chunks).unify_dictionaries() if chunks else _columns([], reader)
    return Stream(stream, topic_id, ends, log.sort_by([("partition", "ascending"), ("offset", "ascending")]))


def _describe(kafka: Mapping[str, object], topic: str) -> tuple[str, list[int]]:
    client = AdminClient(dict(kafka))  # named: an answer is lost with the client that asked
    found = client.describe_topics(TopicCollection([topic]))[topic].result(timeout=30)
    return str(found.topic_id), sorted(partition.id for partition in found.partitions)


def _until(consumer: Consumer, topic: str, ends: Mapping[int, tuple[int, int]]):
    """Lists of messages until every partition's next offset is reached."""
    left = {p: high for p, (low, high) in ends.items() if high > low}
    patience = time.monotonic() + PATIENCE_S
    while left:
        messages = consumer.consume(CHUNK, 0.5)
        failed = next((m.error() for m in messages if m.error()), None)
        if failed:
            raise KafkaException(failed)
        if messages:
            patience = time.monotonic() + PATIENCE_S
            yield [m for m in messages if m.offset() < ends[m.partition()][1]]
        for reached in consumer.position([TopicPartition(topic, p) for p in left]):
            if reached.offset >= left[reached.partition]:
                del left[reached.partition]
        if time.monotonic() > patience:
            raise TimeoutError(f"topic {topic}: partitions {sorted(left)} deliver nothing before their end")


def log_table(
    partitions: Sequence[int],
    offsets: Sequence[int],
    appended_us: np.ndarray,
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    reader: Reader,
) -> pa.Table:
    """The columns of a log (`history.Stream`) from raw messages; `appended_us` is int64[n], microseconds UTC."""
    said = reader(keys, values, appended_us)
    columns = {
        "partition": pa.array(partitions, pa.int32()),
        "offset": pa.array(offsets, pa.int64()),
        "appended": pc.cast(pa.array(appended_us), pa.timestamp("us", "UTC")),
        "person": pa.array([person_of(key) for key in keys], pa.string()).dictionary_encode(),
        "digest": pa.array([hashlib.sha256(value or b"").digest() for value in values], pa.binary(32)),
        "size": pa.array([len(value or b"") for value in values], pa.int32()),
    }
    return pa.table({**columns, **{name: said[name] for name in said.column_names}})


def _columns(messages: list[Message], reader: Reader) -> pa.Table:
    partitions = [message.partition() for message in messages]
    offsets = [message.offset() for message in messages]
    appended_us = np.array([message.timestamp()[1] for message in messages], np.int64) * 1000
    keys = [message.key() for message in messages]
    return log_table(partitions, offsets, appended_us, keys, [message.value() for message in messages], reader)


def person_of(key: bytes | None) -> str | None:
    """The patient of a key; None for a device's, and for what is neither."""
    return key.decode() if key is not None and PATIENT_KEY.fullmatch(key) else None
