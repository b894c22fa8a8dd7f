"""The gate and the roll-up of one day, as plain functions: what Dagster, the demo and the CLI all call.

Holds: which contract, head, session and table go together.
Does not hold: Dagster (`quality.py`, `rollups.py`), the rules (`expectations`), the queries (`warehouse`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from expectations.suites import suite_for
from expectations.validate import Verdict, validate_day
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import CommitReceipt, FencedTable
from warehouse.contract import load_contracts
from warehouse.days import EmptyTableError, Head, day_rows, head_of, rows_where
from warehouse.lake_session import open_session
from warehouse.offsets import Vector
from warehouse.release import QualityResult, latest_result, next_evaluation, released
from warehouse.rollups import vitals_by_minute
from warehouse.settings import Settings
from warehouse.snapshots import vector_of
from warehouse.tables import arrow_schema
from warehouse.vocabulary import CODES

RESULTS = "quality_results"
WRITER = "dagster"


@dataclass(frozen=True, slots=True)
class RollupReceipt:
    """A day rolled up: rows written, into which snapshot (None: it was there), from which snapshot of the source."""

    day: date
    rows: int
    snapshot_id: int | None
    source_snapshot_id: int


class Lake:
    """Catalog and read-only session of one gate or roll-up; close it by `with`."""

    def __init__(self, settings: Settings) -> None:
        self._namespace = settings.namespace
        self._catalog = open_catalog(settings)
        self.session = open_session(settings)

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def head(self, name: str) -> Head:
        """A table as it is now. Raises `EmptyTableError`."""
        return head_of(load_table(self._catalog, self._namespace, name))

    def head_and_vector(self, name: str) -> tuple[Head, Vector]:
        """A table as it is now and the offsets it had come to. Raises `EmptyTableError`, `VectorMissingError`."""
        table = load_table(self._catalog, self._namespace, name)
        return head_of(table), vector_of(table.metadata)

    def verdicts(self, table: str, day: date) -> pa.Table:
        """The rows of `quality_results` on one day of one table; none before the first verdict ever."""
        try:
            head = self.head(RESULTS)
        except EmptyTableError:
            return arrow_schema(load_contracts().table(RESULTS)).empty_table()
        return rows_where(self.session, head, {"table_name": table, "day": day})

    def write(self, name: str, rows: pa.Table, source: Head, replace_day: date | None = None) -> CommitReceipt:
        """Append rows made from `source`, or put them in the place of a day."""
        fenced = FencedTable(self._catalog, (self._namespace, name), writer=WRITER)
        rows = rows.cast(arrow_schema(load_contracts().table(name)))
        return fenced.append_derived(rows, sources={source.table_uuid: source.snapshot_id}, replace_day=replace_day)


def run_gate(settings: Settings, table: str, day: date, *, now: datetime) -> Verdict:
    """Judge `day` (UTC) of `table` at its head and write the verdict to `quality_results`.

    `now` is aware. Raises `EmptyTableError` where the table has no snapshot; a red verdict is returned, not raised.
    """
    contract = load_contracts().table(table)
    if contract.partitioning is None:
        raise ValueError(f"{table} has no days: its contract gives it no partitioning")
    with Lake(settings) as lake:
        head, vector = lake.head_and_vector(table)
        rows = day_rows(lake.session, head, day, contract.partitioning.column)
        verdict = validate_day(rows, suite_for(contract, CODES))
        result = QualityResult(
            table=table,
            day=day,
            suite_version=verdict.suite_version,
            snapshot_id=head.snapshot_id,
            vector=vector,
            passed=verdict.passed,
            evaluated_at=next_evaluation(now, latest_result(lake.verdicts(table, day), table, day)),
            expectations=verdict.expectations,
            failed=tuple(verdict.failed),
            rows=verdict.rows,
        )
        lake.write(RESULTS, result.row(arrow_schema(load_contracts().table(RESULTS))), head)
    return verdict


def run_rollup(settings: Settings, day: date) -> RollupReceipt:
    """Replace `day` (UTC) of `vitals_by_minute` by what the released vitals of that day give; idempotent.

    Raises `DayNotReleasedError` unless the newest verdict on the day is a pass.
    """
    with Lake(settings) as lake:
        release = released(lake.verdicts("vitals", day), "vitals", day)
        head = lake.head("vitals")
        rows = vitals_by_minute(lake.session, head, day, release.vector)
        receipt = lake.write("vitals_by_minute", rows, head, replace_day=day)
    return RollupReceipt(day, rows.num_rows, receipt.snapshot_id, head.snapshot_id)
