"""What became of positions that some tables of a topic already have and others lack.

Holds: the questions of a restart about the stretch between the least and the greatest of those tables' vectors.
Does not hold: the memory of first positions (pipelines), the questions about what lies below every vector (history.py).

Tables of one topic are committed one by one, so after a crash a position may be in one of them and be read again for
another. What it was then, a row or a duplicate, it must be again; otherwise it would stand in both tables, or in none.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from warehouse.analytics import Analytics

Stretch = Mapping[int, tuple[int, int]]
"""partition -> [start, end) of offsets"""


_POSITION = [("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]


def rows_within(analytics: Analytics, table: str, topic_id: str, stretch: Stretch) -> pa.Table:
    """The positions of the rows that a table has there: kafka_partition, kafka_offset."""
    if _is_empty(stretch):
        return pa.schema(_POSITION).empty_table()
    return analytics.query(
        f"SELECT kafka_partition, kafka_offset FROM {table} WHERE topic_id = $topic_id AND ({_within(stretch)})",
        parameters={"topic_id": topic_id},
    ).table


def duplicates_within(analytics: Analytics, topic_id: str, stretch: Stretch) -> pa.Table:
    """What the duplicates' log has there: kafka_partition, kafka_offset, first_offset."""
    if _is_empty(stretch):
        return pa.schema([*_POSITION, ("first_offset", pa.int64())]).empty_table()
    return analytics.query(
        "SELECT kafka_partition, kafka_offset, first_offset FROM duplicates "
        f"WHERE topic_id = $topic_id AND ({_within(stretch)})",
        parameters={"topic_id": topic_id},
    ).table


def _is_empty(stretch: Stretch) -> bool:
    """Whether the tables are as far as each other, as after an orderly end: nothing is to be asked then."""
    return all(start >= end for start, end in stretch.values())


def _within(stretch: Stretch) -> str:
    """An SQL condition; numbers only, so nothing can be smuggled in."""
    parts = [
        f"(kafka_partition = {int(p)} AND kafka_offset >= {int(start)} AND kafka_offset < {int(end)})"
        for p, (start, end) in sorted(stretch.items())
        if start < end
    ]
    return " OR ".join(parts) or "false"
