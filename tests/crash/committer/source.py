"""A log that needs no broker: what stands at each position is computed, the same for every reader at any time.

Holds: the rows of a span of positions, and which positions have none.
Does not hold: anything of ours; the verdict compares the table with it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

TOPIC = "crash-test-topic-id"
START_US = 1_772_366_400_000_000
"""2026-03-01 12:00 UTC."""
ROWS_A_DAY = 20_000
DAY_US = 86_400_000_000


def offsets_with_rows(start: int, end: int) -> np.ndarray:
    """The positions of [start, end) that hold a message; the others are markers, as transactions leave them."""
    offsets = np.arange(start, end, dtype=np.int64)
    return offsets[offsets % 13 != 5]


def values(partition: int, offsets: np.ndarray) -> np.ndarray:
    """What each message measures."""
    return ((offsets * 2654435761 + partition * 97) % 1009).astype(np.float64)


def event_ids(partition: int, offsets: np.ndarray) -> list[str]:
    """The sender's id of each message."""
    return [f"{partition}/{offset}" for offset in offsets.tolist()]


def rows(partition: int, start: int, end: int) -> pa.Table:
    """The rows of `vitals` that the messages of [start, end) become."""
    offsets = offsets_with_rows(start, end)
    n = len(offsets)
    times = pa.array(START_US + offsets * (DAY_US // ROWS_A_DAY), pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "event_id": pa.array(event_ids(partition, offsets), pa.string()),
            "code": pa.DictionaryArray.from_arrays((offsets % 2).astype(np.int32), ["8867-4", "59408-5"]),
            "numeric_value": pa.array(values(partition, offsets)),
            "event_time": times,
            "topic_id": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [TOPIC]),
            "kafka_partition": pa.array(np.full(n, partition, np.int32)),
            "kafka_offset": pa.array(offsets),
            "kafka_time": times,
            "ingest_time": times,
        }
    )
