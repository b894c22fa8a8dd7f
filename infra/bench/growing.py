"""What P6 and P8 share: a lake of one table on a store of its own, rows of it, and how its content is held to account.

Holds: no measuring.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.bench.check import CheckFailedError
from infra.bench.surroundings import store_alone
from infra.bench.workload import id_texts
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.settings import Settings

TABLE = "vitals"
TOPIC = "bench-upkeep-topic-id"
FIRST_DAY_US = int(np.datetime64("2026-10-01", "us").astype(np.int64))
DAY_US = 86_400_000_000
CODES = ("8867-4", "9279-1", "59408-5", "8480-6")
PATIENTS = 500

Progress = Callable[[str], None]


@contextmanager
def lake(name: str, progress: Progress) -> Generator[Settings]:
    """Settings of a lake with the tables `vitals` and `duplicates`, on a store that ends with it."""
    with store_alone(name, progress) as settings:
        make_tables(settings)
        yield settings


def make_tables(settings: Settings, partitions: int = 2) -> None:
    """Both tables, their reading of the topic begun."""
    contracts, catalog = load_contracts(), open_catalog(settings)
    for name in (TABLE, "duplicates"):
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
        fenced(settings, name).establish(TOPIC, dict.fromkeys(range(partitions), 0))


def fenced(settings: Settings, name: str = TABLE, writer: str = "bench") -> FencedTable:
    """A committer of a table."""
    return FencedTable(open_catalog(settings), (settings.namespace, name), writer=writer)


def readings(start: int, n: int, day: int = 0, partition: int = 0) -> pa.Table:
    """Rows of `vitals` at positions [start, start + n) of a partition, all in one day, as the stream makes them."""
    offsets = np.arange(start, start + n, dtype=np.int64)
    times = FIRST_DAY_US + day * DAY_US + (offsets * 7_919_000) % DAY_US
    kafka = FIRST_DAY_US + day * DAY_US + offsets * 1_000
    patients = (offsets * 2_654_435_761 % PATIENTS).astype(np.int32)
    stamp = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "event_id": pa.array(_event_ids(offsets, partition), pa.binary()).cast(pa.string()),
            "subject_token": pa.DictionaryArray.from_arrays(patients, [f"token{n:021d}" for n in range(PATIENTS)]),
            "device_id": pa.DictionaryArray.from_arrays(patients % 50, [f"MON-{n:04d}" for n in range(50)]),
            "ward": pa.DictionaryArray.from_arrays(patients % 6, [f"ICU-{n}" for n in range(6)]),
            "code": pa.DictionaryArray.from_arrays((offsets % len(CODES)).astype(np.int32), CODES),
            "numeric_value": pa.array((offsets % 977) / 10.0),
            "event_time": pa.array(times, stamp),
            "topic_id": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [TOPIC]),
            "kafka_partition": pa.array(np.full(n, partition, np.int32)),
            "kafka_offset": pa.array(offsets),
            "kafka_time": pa.array(kafka, stamp),
            "ingest_time": pa.array(kafka, stamp),
        }
    )


def _event_ids(offsets: np.ndarray, partition: int) -> list[bytes]:
    """A UUID a position, as unlike each other as random ones: they do not compress."""
    low = offsets.astype(np.uint64) + np.uint64(partition << 40)
    high = low * np.uint64(0x9E3779B97F4A7C15)
    return id_texts(np.stack([high, (high ^ (high >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)], axis=1))


def require_each_once(settings: Settings, rows: dict[int, int]) -> None:
    """Hold the table against what was brought: partition -> rows from offset 0, each once.

    Raises `CheckFailedError`."""
    table = open_catalog(settings).load_table((settings.namespace, TABLE))
    found = table.scan(selected_fields=("kafka_partition", "kafka_offset", "numeric_value")).to_arrow()
    for partition, wanted in rows.items():
        part = found.filter(pc.equal(found["kafka_partition"], partition))
        offsets = np.sort(part["kafka_offset"].to_numpy())
        if len(offsets) != wanted or not (offsets == np.arange(wanted)).all():
            raise CheckFailedError(f"partition {partition}: {len(offsets)} rows, {wanted} were brought, or some twice")
        sums = float(pc.sum(part["numeric_value"]).as_py() or 0.0), float(np.sum((np.arange(wanted) % 977) / 10.0))
        if abs(sums[0] - sums[1]) > 1e-6 * max(1.0, sums[1]):
            raise CheckFailedError(f"partition {partition}: the values are not those that were brought")
