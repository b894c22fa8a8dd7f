"""Days of a table: which of them changed, and the rows of one as they stand at a head.

Holds: what derived work reads before it computes.
Does not hold: the session (`lake_session.py`), people's questions (`analytics.py`), nor writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.typedef import Record

EPOCH = date(1970, 1, 1)


class EmptyTableError(RuntimeError):
    """A table without a snapshot has no day to judge or to roll up."""


@dataclass(frozen=True, slots=True)
class Head:
    """A table's newest snapshot, as loaded once: everything read through it is of that moment."""

    table_uuid: str
    snapshot_id: int
    metadata_location: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What came to a table after a sequence number.

    Attributes:
        sequence: Iceberg sequence number of the head, where the next look begins.
        snapshot_id: the head; None for a table without snapshots. total_rows: of the whole table.
        rows: day -> rows in files added since (replaced files count again); None as a day: not partitioned by day.
    """

    sequence: int
    snapshot_id: int | None
    total_rows: int
    rows: Mapping[date | None, int]


def head_of(table: Table) -> Head:
    """The head of a freshly loaded table. Raises `EmptyTableError` if nothing was ever committed."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        raise EmptyTableError(f"{'.'.join(table.name())} has no snapshot yet; start the stream (`wardstream up`)")
    return Head(str(table.metadata.table_uuid), snapshot.snapshot_id, table.metadata_location)


def changes_since(table: Table, sequence: int) -> Changes:
    """Rows added per day by snapshots above `sequence` (0: all there is). Reads only manifests written since."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return Changes(sequence, None, 0, {})
    total = int((snapshot.summary or {}).get("total-records", 0))
    if (snapshot.sequence_number or 0) <= sequence:
        return Changes(sequence, snapshot.snapshot_id, total, {})
    rows: Counter[date | None] = Counter()
    for manifest in snapshot.manifests(table.io):
        if (manifest.sequence_number or 0) > sequence:
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                if (entry.sequence_number or 0) > sequence:
                    rows[_day(entry.data_file.partition)] += entry.data_file.record_count
    return Changes(snapshot.sequence_number or 0, snapshot.snapshot_id, total, dict(rows))


def day_rows(connection: duckdb.DuckDBPyConnection, head: Head, day: date, column: str) -> pa.Table:
    """All columns of the rows whose `column` (timestamptz) falls on `day` (UTC) at `head`."""
    first, end = day_bounds(day)
    statement = f'SELECT * FROM iceberg_scan(?) WHERE "{column}" >= ? AND "{column}" < ?'
    return connection.execute(statement, [head.metadata_location, first, end]).to_arrow_table()


def rows_where(connection: duckdb.DuckDBPyConnection, head: Head, equal: Mapping[str, object]) -> pa.Table:
    """All columns of the rows whose columns have the values of `equal` at `head`."""
    condition = " AND ".join(f'"{name}" = ?' for name in equal)
    statement = f"SELECT * FROM iceberg_scan(?) WHERE {condition}"
    return connection.execute(statement, [head.metadata_location, *equal.values()]).to_arrow_table()


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """[midnight, next midnight) UTC."""
    first = datetime.combine(day, time(), UTC)
    return first, first + timedelta(days=1)


def _day(partition: Record) -> date | None:
    """The day a file lies in: Iceberg keeps a day transform as days since 1970."""
    values = [partition[index] for index in range(len(partition))]
    return EPOCH + timedelta(days=values[0]) if len(values) == 1 and isinstance(values[0], int) else None
