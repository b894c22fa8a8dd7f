"""The gate and the roll-up of one day, as plain functions: what Dagster, the demo and the CLI all call.

Holds: which contract, head, session and table go together.
Does not hold: Dagster (`quality.py`, `rollups.py`), the rules (`expectations`), the queries (`warehouse`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import pyarrow as pa
from pyiceberg.catalog import Catalog

from expectations.suites import suite_for
from expectations.validate import Verdict, validate_day
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import CommitReceipt, FencedTable
from warehouse.contract import load_contracts
from warehouse.days import EmptyTableError, Head, day_rows, head_of, rows_where
from warehouse.lake_session import open_session
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
    """A day rolled up: rows written, into which snapshot, from which snapshot of the source."""

    day: date
    rows: int
    snapshot_id: int
    source_snapshot_id: int


def run_gate(settings: Settings, table: str, day: date, *, now: datetime) -> Verdict:
    """Judge `day` (UTC) of `table` at its head and write the verdict to `quality_results`.

    `now` is aware. Raises `EmptyTableError` where the table has no snapshot; a red verdict is returned, not raised.
    """
    contract = load_contracts().table(table)
    catalog = open_catalog(settings)
    source = load_table(catalog, settings.namespace, table)
    head, vector = head_of(source), vector_of(source.metadata)
    with open_session(settings) as connection:
        rows = day_rows(connection, head, day, contract.partitioning.column)
        newest = latest_result(_results(connection, catalog, settings, table, day), table, day)
    verdict = validate_day(rows, suite_for(contract, CODES))
    result = QualityResult(
        table=table,
        day=day,
        suite_version=verdict.suite_version,
        snapshot_id=head.snapshot_id,
        vector=vector,
        passed=verdict.passed,
        evaluated_at=next_evaluation(now, newest),
        expectations=verdict.expectations,
        failed=tuple(verdict.failed),
        rows=verdict.rows,
    )
    _derived(settings, catalog, RESULTS, result.row(arrow_schema(load_contracts().table(RESULTS))), head)
    return verdict


def run_rollup(settings: Settings, day: date) -> RollupReceipt:
    """Replace `day` (UTC) of `vitals_by_minute` by what the released vitals of that day give; idempotent.

    Raises `DayNotReleasedError` unless the newest verdict on the day is a pass.
    """
    catalog = open_catalog(settings)
    with open_session(settings) as connection:
        release = released(_results(connection, catalog, settings, "vitals", day), "vitals", day)
        head = head_of(load_table(catalog, settings.namespace, "vitals"))
        rows = vitals_by_minute(connection, head, day, release.vector)
    receipt = _derived(settings, catalog, "vitals_by_minute", rows, head, replace_day=day)
    return RollupReceipt(day, rows.num_rows, receipt.snapshot_id, head.snapshot_id)


def _derived(
    settings: Settings, catalog: Catalog, name: str, rows: pa.Table, head: Head, replace_day: date | None = None
) -> CommitReceipt:
    rows = rows.cast(arrow_schema(load_contracts().table(name)))
    fenced = FencedTable(catalog, (settings.namespace, name), writer=WRITER)
    return fenced.append_derived(rows, sources={head.table_uuid: head.snapshot_id}, replace_day=replace_day)


def _results(
    connection: duckdb.DuckDBPyConnection, catalog: Catalog, settings: Settings, table: str, day: date
) -> pa.Table:
    """The verdicts on one day of one table; no rows before the first verdict ever."""
    try:
        head = head_of(load_table(catalog, settings.namespace, RESULTS))
    except EmptyTableError:
        return arrow_schema(load_contracts().table(RESULTS)).empty_table()
    return rows_where(connection, head, {"table_name": table, "day": day})
