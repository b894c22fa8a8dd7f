"""Days of a table: which of them changed, and the rows of one as they stand at a head.

Holds: what derived work reads before it computes, and what a day is held against: other days, and the source's
positions.
Does not hold: the session (`lake_session.py`), people's questions (`analytics.py`), nor writing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.erasure.states import DELETED, INTENDED
from warehouse.offsets import Vector
from warehouse.release import positions

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.typedef import Record

EPOCH = date(1970, 1, 1)
DAYS_BEFORE, USUAL_DAYS = 14, 3

HOURS = """
WITH seen AS (
    SELECT epoch_us($column) // 86400000000 AS day, epoch_us($column) // 3600000000 % 24 AS hour, count(*) AS n
    FROM iceberg_scan($metadata) WHERE $column >= $since AND $column < $end
    GROUP BY ALL
), other AS (SELECT DISTINCT day FROM seen WHERE day < epoch_us($first) // 86400000000
), hours AS (SELECT unnest(range(24)) AS hour
), usual AS (
    SELECT hours.hour, median(coalesce(n, 0)) AS n, count(*) AS days
    FROM hours CROSS JOIN other LEFT JOIN seen ON seen.hour = hours.hour AND seen.day = other.day
    GROUP BY ALL
), this AS (SELECT hour, n FROM seen WHERE day = epoch_us($first) // 86400000000)
SELECT hour, coalesce(this.n, 0) AS "rows",
       CASE WHEN epoch_us($first) + (hour + 1) * 3600000000 <= epoch_us($now) AND usual.days >= $enough AND usual.n > 0
            THEN coalesce(this.n, 0) / usual.n END AS share_of_usual
FROM hours LEFT JOIN this USING (hour) LEFT JOIN usual USING (hour)
ORDER BY hour
"""

ACCOUNTED = """
WITH found AS ($found), below AS (
    SELECT found.*, next_offset FROM found JOIN reached USING (topic_id, kafka_partition)
    WHERE kafka_offset < next_offset
)
SELECT topic_id, kafka_partition,
       max(next_offset) - min(kafka_offset) AS positions,
       count(*) AS found,
       (max(next_offset) - min(kafka_offset) - count(*))::BIGINT AS unaccounted
FROM below GROUP BY ALL ORDER BY ALL
"""


ERASED = """
SELECT coalesce(sum(greatest(intended, deleted)), 0)::BIGINT FROM (
    SELECT coalesce(max(found) FILTER (step = $intended), 0) AS intended,
           coalesce(sum(found) FILTER (step = $deleted), 0) AS deleted
    FROM iceberg_scan($at) WHERE "at" >= $since AND list_contains($stores, store) GROUP BY batch, store
)
"""


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


def hours_beside_others(
    connection: duckdb.DuckDBPyConnection, head: Head, day: date, column: str, now: datetime
) -> pa.Table:
    """24 rows: `hour`, `rows`, and `share_of_usual`: rows over the median of that hour of the days before.

    The share is null where the hour is not over at `now` (aware), where fewer than `USUAL_DAYS` of the last
    `DAYS_BEFORE` days have any row, and where the median is 0.
    """
    first, end = day_bounds(day)
    bound = {"metadata": head.metadata_location, "since": first - timedelta(days=DAYS_BEFORE), "first": first}
    statement = HOURS.replace("$column", f'"{column}"')
    return connection.execute(statement, bound | {"end": end, "now": now, "enough": USUAL_DAYS}).to_arrow_table()


def positions_accounted(
    connection: duckdb.DuckDBPyConnection, heads: Iterable[Head], vector: Vector, since: datetime
) -> pa.Table:
    """Rows of topic_id, kafka_partition, positions, found and unaccounted, over what was appended from `since` on.

    `heads`: the tables a message may end in; `vector`: what all of them have come to. Positions count from the first
    that any of them has; a position in two of them makes `unaccounted` negative. A transaction's marker has a position
    and no message: a site whose senders use transactions makes `positions_reconcile` a warning in the contract.
    """
    found = " UNION ALL ".join(_positions_from(head) for head in heads)
    connection.register("reached", positions(vector))
    return connection.execute(ACCOUNTED.replace("$found", found), {"since": since}).to_arrow_table()


def less_erased(accounted: pa.Table, erased: int) -> pa.Table:
    """`positions_accounted` where erasures took out so many rows: what is missing is theirs if it is no more than that.

    Receipts say how many rows of a table went, not which positions: those would be a trace of the person. So a loss no
    larger than what was erased from the table since is not seen here.
    """
    missing = accounted["unaccounted"]
    if accounted.num_rows == 0 or pc.min(missing).as_py() < 0 or pc.sum(missing).as_py() > erased:
        return accounted
    even = pa.array([0] * accounted.num_rows, missing.type)
    return accounted.set_column(accounted.column_names.index("unaccounted"), "unaccounted", even)


def rows_erased(connection: duckdb.DuckDBPyConnection, receipts: Head, tables: Iterable[str], since: datetime) -> int:
    """How many rows erasures took out of these tables from `since` on, by the head of `erasure_receipts`. What was
    intended counts where a run was killed before it told what it had done."""
    bound = {"at": receipts.metadata_location, "since": since, "stores": [f"table:{name}" for name in tables]}
    return connection.execute(ERASED, bound | {"intended": INTENDED, "deleted": DELETED}).fetchall()[0][0]


def _positions_from(head: Head) -> str:
    location = head.metadata_location.replace("'", "''")
    columns = "topic_id, kafka_partition, kafka_offset"
    return f"SELECT {columns} FROM iceberg_scan('{location}') WHERE kafka_time >= $since"


def rows_where(connection: duckdb.DuckDBPyConnection, head: Head, equal: Mapping[str, object]) -> pa.Table:
    """All columns of the rows whose columns have the values of `equal` at `head`; of all rows if it is empty."""
    condition = " AND ".join(f'"{name}" = ?' for name in equal) or "true"
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
