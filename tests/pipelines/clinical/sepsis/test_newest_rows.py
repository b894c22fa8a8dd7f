"""Of each patient the newest row: the last of a batch, and what a row does not say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.clinical.sepsis.newest_rows import NewestRow, NewestRows

APPENDED = datetime(2026, 11, 20, 6, 0, 1, tzinfo=UTC)
DEVICE = datetime(2026, 11, 20, 6, tzinfo=UTC)
APPENDED_MS, DEVICE_MS = 1_000 * int(APPENDED.timestamp()), 1_000 * int(DEVICE.timestamp())
_US = pa.timestamp("us", "UTC")


def _rows(*rows: dict[str, Any]) -> pa.Table:
    usual = {"kafka_partition": 1, "kafka_time": APPENDED, "event_time": DEVICE, "received_at": None}
    table = pa.Table.from_pylist([usual | row for row in rows])
    times = {"kafka_time", "event_time", "received_at"}
    schema = pa.schema([pa.field(f.name, _US) if f.name in times else f for f in table.schema])
    table = table.cast(schema)
    for name in {"patient_id", "ward"} & set(table.column_names):
        words = table[name].cast(pa.string()).dictionary_encode()
        table = table.set_column(table.column_names.index(name), name, words)
    return table


def _noted(*batches: tuple[pa.Table, list[int]]) -> NewestRows:
    newest = NewestRows()
    newest.fit(4)
    for rows, slots in batches:
        newest.note("device.vitals", "event_time", rows, np.array(slots))
    return newest


def test_the_last_row_of_each_patient_counts_and_nobodys_none() -> None:
    rows = _rows(*({"patient_id": f"P{n}", "ward": "ICU-1", "kafka_offset": n} for n in range(4)))
    newest = NewestRows()
    newest.fit(4)
    assert newest.note("device.vitals", "event_time", rows, np.array([2, 2, -1, 0])).tolist() == [0, 2]
    assert newest.of(2) == NewestRow("P1", "ICU-1", "device.vitals", 1, 1, APPENDED_MS, DEVICE_MS, None)
    assert newest.of(0).offset == 3
    assert newest.appended_ms(np.array([0, 1])).tolist() == [APPENDED_MS, 0]


def test_a_row_without_a_ward_leaves_the_patient_where_they_were() -> None:
    told = _rows({"patient_id": "P", "ward": "ICU-1", "kafka_offset": 1})
    silent = _rows({"patient_id": "P", "ward": None, "kafka_offset": 2})
    without = _rows({"patient_id": "P", "kafka_offset": 3})
    newest = _noted((told, [1]), (silent, [1]), (without, [1]))
    assert (newest.of(1).ward, newest.of(1).offset) == ("ICU-1", 3)


def test_when_it_was_received_is_told_where_the_row_says() -> None:
    row = _rows({"patient_id": "P", "ward": "ICU-1", "kafka_offset": 1, "received_at": DEVICE})
    assert _noted((row, [0])).of(0).received_ms == DEVICE_MS


def test_who_is_forgotten_has_no_row() -> None:
    newest = _noted((_rows({"patient_id": "P", "ward": "ICU-1", "kafka_offset": 1}), [0]))
    newest.forget(0)
    assert newest.of(0).patient_id is None
    newest.fit(8)
    assert newest.of(7).ward is None
