"""Which positions of a topic a day's rows come from, as the tables tell.

Holds: the questions asked of heads: stretches of positions by the rows' day and by append time, and the messages that
once ended the process. Does not hold: what Kafka tells of the same (`pipelines/source.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import duckdb

from warehouse.comparison import on_days
from warehouse.days import Head

Ranges = dict[int, tuple[int, int]]
"""partition -> [first offset, last offset + 1)"""


def ranges_of_days(
    session: duckdb.DuckDBPyConnection, head: Head, topic_id: str, column: str, days: Sequence[date]
) -> Ranges:
    """The positions between the first and the last row of a table on `days` by `column`."""
    return _ranges(session, head, topic_id, on_days(f'"{column}"', days))


def ranges_appended(
    session: duckdb.DuckDBPyConnection, head: Head, topic_id: str, since: datetime, until: datetime
) -> Ranges:
    """The positions between the first and the last row of a table whose message was appended in [since, until)."""
    first, past = (moment.isoformat(sep=" ") for moment in (since, until))
    return _ranges(
        session, head, topic_id, f"kafka_time >= TIMESTAMPTZ '{first}' AND kafka_time < TIMESTAMPTZ '{past}'"
    )


def poison_within(session: duckdb.DuckDBPyConnection, rejects: Head, topic_id: str) -> dict[int, frozenset[int]]:
    """Partition -> offsets of the messages of a topic that ended the process and were set aside."""
    return _offsets(session, rejects, topic_id, "stage = 'read' AND reason = 'poison'")


def offsets_within(session: duckdb.DuckDBPyConnection, head: Head, topic_id: str) -> dict[int, frozenset[int]]:
    """Partition -> offsets of all that a table has of a topic."""
    return _offsets(session, head, topic_id, "true")


def rows_on_days(session: duckdb.DuckDBPyConnection, head: Head, column: str, days: Sequence[date]) -> int:
    """How many rows a table has on `days`."""
    statement = f"SELECT count(*) FROM iceberg_scan(?) WHERE {on_days(f'{chr(34)}{column}{chr(34)}', days)}"
    return session.execute(statement, [head.metadata_location]).fetchall()[0][0]


def _offsets(
    session: duckdb.DuckDBPyConnection, head: Head, topic_id: str, condition: str
) -> dict[int, frozenset[int]]:
    rows = session.execute(
        f"""SELECT kafka_partition, list(kafka_offset) FROM iceberg_scan(?)
            WHERE topic_id = ? AND {condition} GROUP BY ALL""",
        [head.metadata_location, topic_id],
    ).fetchall()
    return {partition: frozenset(offsets) for partition, offsets in rows}


def _ranges(session: duckdb.DuckDBPyConnection, head: Head, topic_id: str, condition: str) -> Ranges:
    rows = session.execute(
        f"""SELECT kafka_partition, min(kafka_offset), max(kafka_offset) + 1 FROM iceberg_scan(?)
            WHERE topic_id = ? AND {condition} GROUP BY ALL""",
        [head.metadata_location, topic_id],
    ).fetchall()
    return {partition: (first, past) for partition, first, past in rows}
