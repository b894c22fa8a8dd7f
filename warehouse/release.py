"""The quality gate as data: which rows of a table's day may be built upon.

Holds: what a row of `quality_results` says, which of them is in force, and the error of a day that none releases.
Does not hold: how a verdict is reached (`expectations`), nor when (`assets`). Pure: results come in as Arrow.

A release names offsets, not a snapshot: rows below its vector were judged, and they stay found after the snapshot is
expired. Rows that came later wait for the next verdict. The newest verdict on a day decides; a failing one takes an
earlier release back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.offsets import Vector, decode_vector, encode_vector


class DayNotReleasedError(RuntimeError):
    """A day that nothing may be built upon. The message names table, day, what fails and how to go on."""


@dataclass(frozen=True, slots=True)
class QualityResult:
    """One verdict on one day of one table: a row of `quality_results`.

    Attributes:
        vector: topic id -> partition -> next offset of the snapshot that was judged.
        evaluated_at: aware, UTC; rises with each verdict on the same day.
        failed: names of the expectations that do not hold.
        rows: how many rows were judged.
    """

    table: str
    day: date
    suite_version: str
    snapshot_id: int
    vector: Vector
    passed: bool
    evaluated_at: datetime
    expectations: int
    failed: Sequence[str]
    rows: int

    def row(self, schema: pa.Schema) -> pa.Table:
        """Itself as one row of `quality_results`, columns in the order of `schema`."""
        values = {
            "table_name": self.table,
            "day": self.day,
            "suite_version": self.suite_version,
            "snapshot_id": self.snapshot_id,
            "offset_vector": encode_vector(self.vector),
            "passed": self.passed,
            "evaluated_at": self.evaluated_at,
            "expectations": self.expectations,
            "failed": list(self.failed),
            "rows": self.rows,
        }
        return pa.table({name: [values[name]] for name in schema.names}, schema=schema)


def latest_result(results: pa.Table, table: str, day: date) -> QualityResult | None:
    """The newest verdict on `day` of `table` among `results` (rows of `quality_results`); None if there is none."""
    of_day = results.filter((pc.field("table_name") == table) & (pc.field("day") == pa.scalar(day)))
    if not of_day.num_rows:
        return None
    newest = of_day.sort_by([("evaluated_at", "descending")]).slice(0, 1).to_pylist()[0]
    return QualityResult(
        table=table,
        day=day,
        suite_version=newest["suite_version"],
        snapshot_id=newest["snapshot_id"],
        vector=decode_vector(newest["offset_vector"]),
        passed=newest["passed"],
        evaluated_at=newest["evaluated_at"],
        expectations=newest["expectations"],
        failed=tuple(newest["failed"] or ()),
        rows=newest["rows"],
    )


def released(results: pa.Table, table: str, day: date) -> QualityResult:
    """The verdict that releases `day` of `table`. Raises `DayNotReleasedError` where the newest is not a pass."""
    newest = latest_result(results, table, day)
    remedy = f"run the gate for that day (Dagster: materialise quality/{table}, partition {day})"
    if newest is None:
        raise DayNotReleasedError(f"{table}, {day}: no quality gate has judged this day; {remedy}")
    if not newest.passed:
        failing = ", ".join(newest.failed)
        raise DayNotReleasedError(
            f"{table}, {day}: the quality gate of {newest.evaluated_at:%Y-%m-%d %H:%M} UTC is red ({failing}); "
            f"mend those rows or the contract, then {remedy}"
        )
    return newest


def releases(results: pa.Table, table: str) -> dict[date, Vector]:
    """Every released day of `table` -> the vector that it is released below."""
    of_table = results.filter(pc.field("table_name") == table)
    newest = (latest_result(of_table, table, day) for day in set(of_table["day"].to_pylist()))
    return {result.day: result.vector for result in newest if result is not None and result.passed}


def next_evaluation(now: datetime, newest: QualityResult | None) -> datetime:
    """`now`, or a microsecond after the newest verdict if the clock went back: the verdict given last decides."""
    return now if newest is None else max(now, newest.evaluated_at + timedelta(microseconds=1))


def positions(vector: Vector) -> pa.Table:
    """A vector as rows of topic_id, kafka_partition and next_offset, to restrict rows by a join."""
    flat = [(topic, partition, offset) for topic, parts in vector.items() for partition, offset in parts.items()]
    topics, partitions, offsets = zip(*flat, strict=True) if flat else ((), (), ())
    return pa.table({
        "topic_id": pa.array(topics, pa.string()),
        "kafka_partition": pa.array(partitions, pa.int32()),
        "next_offset": pa.array(offsets, pa.int64()),
    })  # fmt: skip
