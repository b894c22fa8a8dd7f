"""Messages as they were kept: which positions there are, and their sealed rows in order.

Holds: reading the table of raw messages by position, in windows that fit into memory.
Does not hold: opening them (`pipelines/rebuild.py`), nor their keeping (`pipelines/lake_rows.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from warehouse.days import Head
from warehouse.offsets import Vector

WINDOW = 50_000
_COLUMNS = "kafka_offset, kafka_time, sealed_message, sealed_under, subject_token"


@dataclass(frozen=True, slots=True)
class KeptMessages:
    """The raw messages of one topic at a head of their table; `vector` is that head's."""

    session: duckdb.DuckDBPyConnection
    head: Head
    vector: Vector
    topic_id: str

    def ranges(self) -> dict[int, tuple[int, int]]:
        """Partition -> [first position kept, next position to come)."""
        rows = self.session.execute(
            "SELECT kafka_partition, min(kafka_offset) FROM iceberg_scan(?) WHERE topic_id = ? GROUP BY ALL",
            [self.head.metadata_location, self.topic_id],
        ).fetchall()
        ends = self.vector.get(self.topic_id, {})
        return {partition: (first, ends.get(partition, first)) for partition, first in rows}

    def windows(self, partition: int, span: tuple[int, int]) -> Iterator[tuple[int, int, pa.Table]]:
        """(start, end, rows by offset) of a stretch of positions, a window at a time."""
        for start in range(*span, WINDOW):
            end = min(start + WINDOW, span[1])
            rows = self.session.execute(
                f"""SELECT {_COLUMNS} FROM iceberg_scan(?)
                    WHERE topic_id = ? AND kafka_partition = {partition}
                      AND kafka_offset >= {start} AND kafka_offset < {end} ORDER BY kafka_offset""",
                [self.head.metadata_location, self.topic_id],
            ).to_arrow_table()
            yield start, end, rows
