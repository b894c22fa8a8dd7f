"""The loop to compare with: what one would write in an afternoon to bring a clean JSON topic into Iceberg.

Holds: consume 10,000, let pyarrow read the JSON, cast the time, append every few seconds, commit the offsets. No
deduplication, no pseudonyms, no rejects, no exactly-once; one malformed message ends it. It uses nothing of the
product but its settings' addresses. `python -m infra.bench.bare --topic T --messages N`
Does not hold: any tuning beyond librdkafka's `fetch.queue.backoff.ms`, without which it starves.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from confluent_kafka import Consumer, KafkaException, Message
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType, TimestamptzType

from warehouse.catalog import CATALOG_NAME
from warehouse.settings import Settings

CALL_MESSAGES = 10_000
APPEND_S = 5.0
PARTITIONS = 4

_TEXT = ("event_id", "patient_id", "device_id", "ward", "code")
_READ = pa.schema(
    [
        *((name, pa.string()) for name in _TEXT),
        ("value", pa.float64()),
        ("unit", pa.string()),
        ("event_time", pa.string()),
        ("seq", pa.int64()),
    ]
)
_OPTIONS = pj.ParseOptions(explicit_schema=_READ, unexpected_field_behavior="ignore")
_ICEBERG_TYPES = {
    **dict.fromkeys((*_TEXT, "unit", "kafka_topic"), StringType()),
    "value": DoubleType(),
    "event_time": TimestamptzType(),
    "seq": LongType(),
    "kafka_partition": IntegerType(),
    "kafka_offset": LongType(),
}
_COLUMNS = (*_READ.names, "kafka_topic", "kafka_partition", "kafka_offset")


def open_lake(settings: Settings) -> Catalog:
    """The deployment's SQL catalog, as pyiceberg opens it by itself."""
    return load_catalog(
        CATALOG_NAME,
        **{
            "type": "sql",
            "uri": settings.catalog_uri,
            "warehouse": settings.warehouse,
            "s3.endpoint": settings.s3_endpoint,
            "s3.region": settings.s3_region,
            "s3.access-key-id": settings.s3_access_key,
            "s3.secret-access-key": settings.s3_secret_key,
        },
    )


def create_table(settings: Settings) -> Table:
    """The table `bare`, partitioned by day of event time, zstd."""
    fields = [NestedField(n, name, _ICEBERG_TYPES[name], required=False) for n, name in enumerate(_COLUMNS, start=1)]
    schema = Schema(*fields)
    by_day = PartitionField(schema.find_field("event_time").field_id, 1000, DayTransform(), "event_time_day")
    return open_lake(settings).create_table(
        (settings.namespace, "bare"),
        schema,
        partition_spec=PartitionSpec(by_day),
        properties={"format-version": "2", "write.parquet.compression-codec": "zstd"},
    )


def rows_of(messages: list[Message], topic: str) -> pa.Table:
    """The messages as rows. Raises `pa.ArrowInvalid` for a malformed one."""
    text = b"\n".join(cast(list[bytes], [message.value() for message in messages]))
    options = pj.ReadOptions(use_threads=False, block_size=max(1 << 20, len(text) + 1))
    rows = pj.read_json(io.BytesIO(text), read_options=options, parse_options=_OPTIONS)
    times = pc.cast(pc.utf8_slice_codeunits(rows["event_time"], 0, 23), pa.timestamp("us"))
    rows = rows.set_column(rows.schema.get_field_index("event_time"), "event_time", pc.assume_timezone(times, "UTC"))
    rows = rows.append_column("kafka_topic", pa.repeat(topic, len(rows)))
    rows = rows.append_column("kafka_partition", pa.array([message.partition() for message in messages], pa.int32()))
    return rows.append_column("kafka_offset", pa.array([message.offset() for message in messages], pa.int64()))


def load(settings: Settings, topic: str, messages: int) -> None:
    """Bring that many messages into a new table."""
    table = create_table(settings)
    consumer = Consumer(
        settings.kafka(
            **{
                "group.id": settings.namespace,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "fetch.queue.backoff.ms": 10,
            }
        )
    )
    consumer.subscribe([topic])
    held: list[pa.Table] = []
    taken, due = 0, time.monotonic() + APPEND_S
    while taken < messages:
        got = consumer.consume(CALL_MESSAGES, timeout=0.5)
        for message in got:
            if message.error() is not None:
                raise KafkaException(message.error())
        if got:
            held.append(rows_of(got, topic))
            taken += len(got)
        if held and (taken >= messages or time.monotonic() >= due):
            table.append(pa.concat_tables(held).combine_chunks())
            consumer.commit(asynchronous=False)
            held, due = [], time.monotonic() + APPEND_S
    consumer.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.bare", description="Topic to table, nothing else.")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--messages", type=int, required=True)
    given = parser.parse_args(arguments)
    load(Settings.from_environment(), given.topic, given.messages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
