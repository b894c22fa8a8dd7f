"""Rows that belong together over several days: all versions of a result, all events of a stay.

Holds: the closure of days and things that must be made again together, and their rows as far as these are released.
Does not hold: what is made of them (`pipelines/clinical/stays.py`, `warehouse/rollups.py`), nor writing.

What a derived row says, and on which day it lies, may be changed by a row of another day. So the days on which a
touched thing has rows are made again, each whole: with every thing that has a row there. Days after the last one asked
for that are not released are left out: that is the state as it was. A day before it that is not released stops the
work: nothing is told with its beginning missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import duckdb
import pyarrow as pa

from warehouse.contract import TableContract
from warehouse.days import EPOCH, Head
from warehouse.lake_session import quoted
from warehouse.offsets import Vector
from warehouse.release import DayNotReleasedError, positions

_ROWS = """
CREATE OR REPLACE VIEW every_row AS
SELECT *, epoch_us($time) // 86400000000 AS day FROM iceberg_scan($metadata) WHERE subject_token IS NOT NULL
"""
_RELEASED = """
CREATE OR REPLACE VIEW released_row AS
SELECT every_row.* FROM every_row JOIN released_days USING (day, topic_id, kafka_partition)
WHERE kafka_offset < next_offset
"""
_OF_THESE = "($key) IN (SELECT ($key) FROM released_row WHERE list_contains($days, day))"
_DAYS = f"SELECT DISTINCT day FROM released_row WHERE {_OF_THESE} ORDER BY day"
_HELD = f"""
SELECT DISTINCT day FROM every_row
WHERE {_OF_THESE} AND day < $last AND day NOT IN (SELECT day FROM released_days) ORDER BY day
"""
_FOUND = f"SELECT * EXCLUDE (day) FROM released_row WHERE {_OF_THESE} ORDER BY event_id"


@dataclass(frozen=True, slots=True)
class Span:
    """Rows of a table, and the days that what is made of them is made again for."""

    rows: pa.Table
    days: tuple[date, ...]


def span(
    connection: duckdb.DuckDBPyConnection,
    table: TableContract,
    key: tuple[str, ...],
    head: Head,
    releases: Mapping[date, Vector],
    days: Iterable[date],
) -> Span:
    """What `days` of a table touch. `key`: the columns that name a thing; `releases`: day -> vector of every released
    day.

    Raises `DayNotReleasedError` naming an earlier day with rows of the same things that is not released.
    """
    assert table.partitioning is not None, "a table with a gate has days"

    def asked_of(statement: str, **bound: object) -> duckdb.DuckDBPyConnection:
        return connection.execute(statement.replace("$key", ", ".join(key)), bound or None)

    asked = [_number(day) for day in days]
    connection.register("released_days", _released_days(releases))
    rows = _ROWS.replace("$metadata", quoted(head.metadata_location))
    connection.execute(rows.replace("$time", table.partitioning.column))
    connection.execute(_RELEASED)
    touched = [row[0] for row in asked_of(_DAYS, days=asked).fetchall()]
    both = sorted({*asked, *touched})
    held = [EPOCH + timedelta(row[0]) for row in asked_of(_HELD, days=both, last=max(asked)).fetchall()]
    if held:
        raise DayNotReleasedError(
            f"{table.name}, {held[0]}: what the days asked for belong to has rows there, and that day is not released; "
            f"judge it first (Dagster: materialise quality/{table.name}, partition {held[0]})"
        )
    return Span(asked_of(_FOUND, days=both).to_arrow_table(), tuple(EPOCH + timedelta(number) for number in both))


def _released_days(releases: Mapping[date, Vector]) -> pa.Table:
    tables = [
        positions(vector).append_column("day", pa.array([_number(day)] * positions(vector).num_rows, pa.int64()))
        for day, vector in releases.items()
    ]
    empty = positions({}).append_column("day", pa.array([], pa.int64()))
    return pa.concat_tables([empty, *tables])


def _number(day: date) -> int:
    return (day - EPOCH).days
