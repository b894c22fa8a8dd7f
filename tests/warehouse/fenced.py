"""What tests of the lake's writing side share: rows of a contract at given positions, and how to look at a table."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse import tables
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import TableContract, load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings

TOPIC = "3QzRWH8kSmWAcEfVVkuG_A"
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1e6)
MINUTE = 60_000_000
DAY = 1440 * MINUTE


def contract(name: str = "vitals") -> TableContract:
    """A table of the package's own contracts."""
    return load_contracts().table(name)


def new_table(settings: Settings, name: str = "vitals") -> tuple[Catalog, tuple[str, str]]:
    """A catalog with the table made in it, and the table's identifier."""
    catalog = open_catalog(settings)
    create_table(catalog, settings.namespace, contract(name), table_lock(settings))
    return catalog, (settings.namespace, name)


def interval(start: int, end: int, partition: int = 0, topic: str = TOPIC) -> Interval:
    """Positions [start, end) of a partition."""
    return Interval(topic, partition, start, end)


def readings(
    start: int, end: int, partition: int = 0, topic: str = TOPIC, first_us: int = NOON, step_us: int = 1000
) -> pa.Table:
    """One row of `vitals` a position; the time of the event rises by `step_us` from `first_us` a row."""
    n = end - start
    times = first_us + np.arange(n, dtype=np.int64) * step_us
    codes = np.arange(n, dtype=np.int32) % 2
    columns = {
        "event_id": pa.array([f"{topic[:4]}-{partition}-{offset}" for offset in range(start, end)], pa.string()),
        "subject_token": pa.DictionaryArray.from_arrays(codes, ["tokena", "tokenb"]),
        "code": pa.DictionaryArray.from_arrays(codes, ["8867-4", "59408-5"]),
        "numeric_value": pa.array(np.arange(n, dtype=np.float64)),
        "event_time": pa.array(times, pa.timestamp("us", "UTC")),
        "topic_id": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [topic]),
        "kafka_partition": pa.array(np.full(n, partition, np.int32)),
        "kafka_offset": pa.array(np.arange(start, end, dtype=np.int64)),
        "kafka_time": pa.array(times, pa.timestamp("us", "UTC")),
        "ingest_time": pa.array(times, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns)


def no_rows() -> pa.Table:
    """Rows of `vitals`, none of them."""
    return tables.arrow_schema(contract()).empty_table()


def positions(settings: Settings, name: str = "vitals") -> Counter[tuple[str, int, int]]:
    """How often each position is in the table, read through a catalog opened for it."""
    table = open_catalog(settings).load_table((settings.namespace, name))
    rows = table.scan(selected_fields=("topic_id", "kafka_partition", "kafka_offset")).to_arrow()
    return Counter(zip(*(rows[column].to_pylist() for column in rows.column_names), strict=True))


def each_once(start: int, end: int, partition: int = 0, topic: str = TOPIC) -> Counter[tuple[str, int, int]]:
    """What `positions` says when [start, end) is in the table once."""
    return Counter((topic, partition, offset) for offset in range(start, end))
