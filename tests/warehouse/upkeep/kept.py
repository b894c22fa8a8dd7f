"""What tests of upkeep share: a table of many small commits, an upkeep of it, and a look at what lies in the store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyiceberg.table import Table

from tests.warehouse.fenced import DAY, TOPIC, contract, interval, new_table, readings
from warehouse import tables
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.settings import Settings
from warehouse.upkeep.observed import named_objects, object_name
from warehouse.upkeep.plan import UpkeepPolicy
from warehouse.upkeep.run import Upkeep
from warehouse.upkeep.sweep import FOLDERS, store_time

HOUR = timedelta(hours=1)
EAGER = UpkeepPolicy(kept_snapshots=1, manifests_beyond=1, least_objects=1)
"""Everything that can be done is to be done."""


def fenced(settings: Settings, name: str = "vitals", **options: Any) -> FencedTable:
    """A committer as another process would open it."""
    identifier = (settings.namespace, name)
    return FencedTable(open_catalog(settings), identifier, writer=f"test-{uuid.uuid4().hex[:6]}", **options)


def loaded(settings: Settings, name: str = "vitals") -> Table:
    return open_catalog(settings).load_table((settings.namespace, name))


def small_files(settings: Settings, commits: int = 6, rows: int = 10) -> FencedTable:
    """`vitals` after so many commits of `rows` rows each; and an empty `duplicates` beside it."""
    new_table(settings)
    create_table(open_catalog(settings), settings.namespace, contract("duplicates"), table_lock(settings))
    table = fenced(settings)
    table.establish(TOPIC, {0: 0})
    fenced(settings, "duplicates").establish(TOPIC, {0: 0})
    for n in range(commits):
        table.commit(readings(n * rows, (n + 1) * rows), [interval(n * rows, (n + 1) * rows)])
    return table


def upkeep(
    settings: Settings,
    policy: UpkeepPolicy = EAGER,
    later: timedelta = timedelta(),
    held: Iterable[str] = (),
    progress: Callable[[str], None] = lambda step: None,
) -> Upkeep:
    """Upkeep of the lake, at the store's time and `later`."""
    return Upkeep(
        settings,
        open_catalog(settings),
        load_contracts(),
        lambda table, now: held,
        now=lambda table: store_time(table) + later,
        policy=policy,
        progress=progress,
    )


def objects(settings: Settings, name: str = "vitals") -> set[str]:
    """Every object that lies in the table's folders, sweeps' own lists aside."""
    table = loaded(settings, name)
    listed = [table.io.listed(f"{table.location()}/{folder}") for folder in FOLDERS]
    return {object_name(o.location) for part in listed for o in part.objects if "/upkeep/" not in o.location}


def strays(settings: Settings, name: str = "vitals") -> set[str]:
    """Objects that no snapshot names."""
    return objects(settings, name) - named_objects(loaded(settings, name))


def missing(settings: Settings, name: str = "vitals") -> set[str]:
    """Objects that a snapshot names and that are not there."""
    return named_objects(loaded(settings, name)) - objects(settings, name)


def row_digest(settings: Settings, name: str = "vitals") -> list[tuple]:
    """All rows, in an order of their own."""
    rows: pa.Table = loaded(settings, name).scan().to_arrow()
    columns = sorted(rows.column_names)
    return sorted(zip(*(map(str, rows[column].to_pylist()) for column in columns), strict=True))


NOW = datetime(2026, 3, 2, tzinfo=UTC)


def repeated(settings: Settings) -> list[tuple[str, int, int]]:
    """Three events of the first commits a second time, three days of Kafka time later: past what the stream
    remembers. Their positions."""
    rows = readings(60, 70)
    ids = rows["event_id"].to_pylist()
    ids[2:5] = readings(10, 13)["event_id"].to_pylist()
    later = pa.array(
        [us + 3 * DAY for us in rows["kafka_time"].cast(pa.int64()).to_pylist()], pa.timestamp("us", "UTC")
    )
    rows = rows.set_column(rows.column_names.index("event_id"), "event_id", pa.array(ids))
    rows = rows.set_column(rows.column_names.index("kafka_time"), "kafka_time", later)
    fenced(settings).commit(rows, [interval(60, 70)])
    fenced(settings, "duplicates").commit(no_duplicates(), [interval(0, 70)])
    return [(TOPIC, 0, offset) for offset in (62, 63, 64)]


def no_duplicates() -> pa.Table:
    """Rows of `duplicates`, none of them."""
    return tables.arrow_schema(contract("duplicates")).empty_table()
