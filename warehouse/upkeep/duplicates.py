"""Events that stand in a table's day twice, because the stream had forgotten the first when the second came.

Holds: when a day can have such at all, which rows they are, and how they are put on record.
Does not hold: their removal (compact.py), nor the stream's own deduplication (pipelines/deduplicate.py).

As for the stream, a duplicate is the same event id in the same partition of the same topic, at a later position: under
another key it would be another patient's (decision 2). What is found is the stream's own kind of record: a row of
`duplicates`, of the same columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.table import Table

from warehouse.commit import FencedTable
from warehouse.contract import Contracts, TableContract
from warehouse.contract_model import Deduplication
from warehouse.lake_session import open_session, quoted
from warehouse.settings import Settings
from warehouse.snapshots import UPKEEP, LiveFile
from warehouse.tables import arrow_schema
from warehouse.upkeep.observed import object_name

TABLE = "duplicates"
BATCH_IDS = 100_000
"""Of the ids that the stream remembers, so many may lie between one remembered and one forgotten."""

REPEATED = """
WITH rows AS (
    SELECT "{key}" AS event_id, subject, topic_id, kafka_partition, kafka_offset, kafka_time, filename
    FROM (SELECT *, {subject} AS subject FROM read_parquet([{files}], filename = true, union_by_name = true,
                                                           hive_partitioning = false))
), again AS (
    SELECT event_id, topic_id, kafka_partition, min(kafka_offset) AS first_offset
    FROM rows GROUP BY ALL HAVING count(DISTINCT kafka_offset) > 1
)
SELECT event_id, subject AS subject_token, first_offset, topic_id, kafka_partition, kafka_offset, kafka_time, filename
FROM rows JOIN again USING (event_id, topic_id, kafka_partition)
WHERE kafka_offset > first_offset
ORDER BY topic_id, kafka_partition, kafka_offset
"""


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Repeated rows of one table. `rows`: columns of `duplicates` but `stream` and `ingest_time`, and `filename`, the
    name of the object it stands in."""

    rows: pa.Table

    def stand_in(self, location: str) -> bool:
        """Whether one of them stands in this file."""
        return object_name(location) in set(self.rows["filename"].to_pylist())

    def positions(self, files: Iterable[str]) -> frozenset[tuple[str, int, int]]:
        """Positions of those that stand in these files."""
        wanted = set(map(object_name, files))
        names = ("topic_id", "kafka_partition", "kafka_offset", "filename")
        columns = [self.rows[name].to_pylist() for name in names]
        return frozenset((t, p, o) for t, p, o, file in zip(*columns, strict=True) if file in wanted)


def deduplication_of(table: TableContract, contracts: Contracts) -> Deduplication | None:
    """By which column the table's events are known; None where its rows are not events of one stream."""
    stream = contracts.stream(table.stream)
    known = stream.deduplication
    return known if known and table.fed_by == (stream.name,) and known.column in table.names else None


def may_repeat(table: Table, files: list[LiveFile], known: Deduplication) -> bool:
    """Whether files of one day can hold an event twice: only where they reach further, in Kafka time or in positions,
    than the stream remembers. Where a file does not say how far it reaches, they may."""
    times = [_bounds(table, live, "kafka_time") for live in files]
    offsets = [_bounds(table, live, "kafka_offset") for live in files]
    partitions = [_bounds(table, live, "kafka_partition") for live in files]
    if not all((*times, *offsets, *partitions)):
        return True
    seconds = _reach(times) / 1e6
    ids = _reach(offsets) * (_reach(partitions) + 1)
    return seconds >= known.horizon_seconds or ids >= known.max_ids // 2 - BATCH_IDS


def find_repeated(
    settings: Settings, table: TableContract, files: list[LiveFile], known: Deduplication
) -> Duplicates | None:
    """The rows of one day's files whose event stands at an earlier position among them; None where there is none.

    DuckDB reads four columns of the files, within the bounds of its session. Raises DuckDB's errors.
    """
    listed = ", ".join(quoted(live.file.file_path) for live in files)
    subject = "subject_token" if "subject_token" in table.names else "NULL::VARCHAR"
    with open_session(settings) as session:
        rows = session.execute(REPEATED.format(key=known.column, subject=subject, files=listed)).to_arrow_table()
    names = pa.array(map(object_name, rows["filename"].to_pylist()), pa.string())
    assert set(names.to_pylist()) <= {object_name(live.file.file_path) for live in files}, "rows of files not asked for"
    return (
        Duplicates(rows.set_column(rows.schema.get_field_index("filename"), "filename", names)) if len(rows) else None
    )


def record(fenced: FencedTable, contracts: Contracts, stream: str, found: Duplicates, at: datetime) -> int:
    """Put duplicates on record unless they are; how many were put. `at`: the time, aware. Raises as `append_missing`.

    Before they leave their table: a kill in between leaves a position in two places until the next run, none in no
    place.
    """
    n = found.rows.num_rows
    extra = {
        "stream": pa.array([stream] * n, pa.string()),
        "ingest_time": pa.array([at.astimezone(UTC)] * n, pa.timestamp("us", "UTC")),
    }
    schema = arrow_schema(contracts.table(TABLE))
    columns: dict[str, Any] = {name: found.rows[name] for name in found.rows.column_names} | extra
    rows = pa.table([columns[field.name].cast(field.type) for field in schema], schema=schema)
    return fenced.append_missing(rows, {UPKEEP: "duplicates"}).rows


def by_day(files: Iterable[LiveFile]) -> dict[int | None, list[LiveFile]]:
    """The files of each partition day."""
    days: dict[int | None, list[LiveFile]] = defaultdict(list)
    for live in files:
        days[live.day].append(live)
    return dict(days)


def _bounds(table: Table, live: LiveFile, column: str) -> tuple[int, int] | None:
    """Least and greatest value of an integer or time column in a file; None where it does not say."""
    field = table.schema().find_field(column)
    lower, upper = (live.file.lower_bounds or {}), (live.file.upper_bounds or {})
    if field.field_id not in lower or field.field_id not in upper:
        return None
    kind = field.field_type
    return int(from_bytes(kind, lower[field.field_id])), int(from_bytes(kind, upper[field.field_id]))  # type: ignore[arg-type]


def _reach(bounds: list[tuple[int, int] | None]) -> int:
    known = [each for each in bounds if each is not None]
    return max(upper for _, upper in known) - min(lower for lower, _ in known) if known else 0
