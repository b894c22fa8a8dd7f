"""The gate of one day, as a plain function: what Dagster, the demo and the CLI all call.

Holds: which contract, head and session go together, and what a day is held against.
Does not hold: Dagster (`quality.py`), the rules (`expectations`), the queries (`warehouse`), derived tables
(`derive.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from assets.quality_pages import index_path, page_path, write_page
from expectations.pages import day_page, index_page
from expectations.suites import suite_for
from expectations.validate import Day, Verdict, validate_day
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import CommitReceipt, FencedTable
from warehouse.consent.filters import streams_behind
from warehouse.consent.now import consenting_now
from warehouse.contract import TableContract, load_contracts
from warehouse.days import (
    EmptyTableError,
    Head,
    day_bounds,
    day_rows,
    head_of,
    hours_beside_others,
    less_erased,
    positions_accounted,
    rows_erased,
    rows_where,
)
from warehouse.erasure.derived_rows import writing_derived
from warehouse.erasure.inventory import token_column
from warehouse.erasure.ledger import Ledger
from warehouse.lake_session import open_session
from warehouse.offsets import Vector
from warehouse.release import QualityResult, latest_result, next_evaluation
from warehouse.settings import Settings
from warehouse.snapshots import vector_of
from warehouse.subjects import is_of
from warehouse.tables import arrow_schema
from warehouse.vault import open_vault

RESULTS, RECEIPTS = "quality_results", "erasure_receipts"
ENDS_BESIDE_THE_TABLE = ("rejects", "duplicates")
WITHHELD = "consent_withheld"
WRITER = "dagster"


class Lake:
    """Catalog and read-only session of one gate or derivation; close it by `with`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog = open_catalog(settings)
        self.contracts = load_contracts(own=settings.contracts)
        self._namespace = settings.namespace
        self.session = open_session(settings)

    def __enter__(self) -> Lake:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    @property
    def streams(self) -> list[str]:
        """Every stream that has a topic."""
        return [topic.stream for topic in self.contracts.topics()]

    def beside(self, table: TableContract) -> tuple[str, ...]:
        """The tables in which messages of the table's stream end that are none of its rows."""
        asks = self.contracts.stream(table.stream).consented
        return (*ENDS_BESIDE_THE_TABLE, WITHHELD) if asks else ENDS_BESIDE_THE_TABLE

    def head(self, name: str) -> Head:
        """A table as it is now. Raises `EmptyTableError`."""
        return head_of(load_table(self.catalog, self._namespace, name))

    def head_and_vector(self, name: str) -> tuple[Head, Vector]:
        """A table as it is now and the offsets it had come to. Raises `EmptyTableError`, `VectorMissingError`."""
        table = load_table(self.catalog, self._namespace, name)
        return head_of(table), vector_of(table.metadata)

    def rows_erased(self, tables: Iterable[str], since: datetime) -> int:
        """How many rows erasures took out of these tables from `since` on."""
        try:
            return rows_erased(self.session, self.head(RECEIPTS), tables, since)
        except EmptyTableError:
            return 0

    def verdicts(self, table: str, day: date) -> pa.Table:
        """The rows of `quality_results` on one day of one table; none before the first verdict ever."""
        return self._results({"table_name": table, "day": day})

    def verdicts_of(self, table: str) -> pa.Table:
        """The same on every day of one table."""
        return self._results({"table_name": table})

    def all_verdicts(self) -> pa.Table:
        """Every row of `quality_results`."""
        return self._results({})

    def _results(self, equal: Mapping[str, object]) -> pa.Table:
        try:
            return rows_where(self.session, self.head(RESULTS), equal)
        except EmptyTableError:
            return arrow_schema(self.contracts.table(RESULTS)).empty_table()

    def append(self, name: str, rows: pa.Table, source: Head) -> CommitReceipt:
        """Append rows made from `source`."""
        return self._fenced(name).append_derived(rows, sources={source.table_uuid: source.snapshot_id})

    def replace(self, name: str, rows: pa.Table, sources: Mapping[str, int], days: Iterable[date]) -> CommitReceipt:
        """Put rows in the place of days, all at once, but those of people who were erased since they were read, or who
        took back the consent that the table rests on. `sources`: table uuid -> snapshot that was read. Raises what the
        vault raises."""
        table = self.contracts.table(name)
        with writing_derived(self.settings) as of_those_who_stay:
            kept = self._of_those_who_consent(of_those_who_stay(rows, token_column(table)), table)
            return self._fenced(name).append_derived(kept, sources=sources, replace=days)

    def _of_those_who_consent(self, rows: pa.Table, table: TableContract) -> pa.Table:
        """Without the rows of whoever took their consent back since the rows were reckoned, where it rests on that."""
        purposes, column = self.contracts.stream(table.stream).consented, token_column(table)
        if not purposes or column is None or not rows.num_rows:
            return rows
        tokens = {token for token in rows[column].unique().to_pylist() if token is not None}
        streams = streams_behind(self.contracts, table) or (table.stream,)
        now = datetime.now(UTC)
        staying = consenting_now(tokens, purposes, streams, self.contracts, self.catalog, self._namespace, now)
        return rows.filter(is_of(rows, column, staying))

    def added_bytes(self, name: str, snapshot_id: int) -> int:
        """Size of the files that a snapshot added; 0 where it added none, or is no longer known."""
        snapshot = load_table(self.catalog, self._namespace, name).snapshot_by_id(snapshot_id)
        added = snapshot.summary.get("added-files-size") if snapshot and snapshot.summary else None
        return int(added or 0)

    def _fenced(self, name: str) -> FencedTable:
        return FencedTable(self.catalog, (self._namespace, name), writer=WRITER, erased=self._erased)

    def _erased(self, tokens: Iterable[str]) -> set[str]:
        """Who of these was erased, by the list as it is now: what was read may be older than an erasure. Raises
        `VaultError`, `VaultUnavailableError`."""
        vault = open_vault(self.settings.vault_uri, time.monotonic)
        try:
            return Ledger(vault, time.monotonic).erased(tokens)
        finally:
            vault.close()


def run_gate(settings: Settings, table: str, day: date, *, now: datetime) -> Verdict:
    """Judge `day` (UTC) of `table` at its head and write the verdict to `quality_results`, then its page.

    `now` is aware. Raises `EmptyTableError` where the table has no snapshot; a red verdict is returned, not raised.
    """
    contracts = load_contracts(own=settings.contracts)
    contract = contracts.table(table)
    with Lake(settings) as lake:
        head, vector = lake.head_and_vector(table)
        suite = suite_for(contract)
        verdict = validate_day(_looked_at(lake, contract, head, vector, day, now), suite)
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
        lake.append(RESULTS, result.row(arrow_schema(contracts.table(RESULTS))), head)
        page = day_page(contract, day, verdict, suite, result.evaluated_at)
        write_page(page_path(settings.home, table, day), page)
        write_page(index_path(settings.home), index_page(lake.all_verdicts()))
    return verdict


def _looked_at(lake: Lake, contract: TableContract, head: Head, vector: Vector, day: date, now: datetime) -> Day:
    """The day's rows, its hours beside those of other days, its newest row's age, the positions since it began."""
    if contract.partitioning is None:
        raise ValueError(f"{contract.name} has no days: its contract gives it no partitioning")
    column = contract.partitioning.column
    rows = day_rows(lake.session, head, day, column)
    return Day(
        rows,
        hours=hours_beside_others(lake.session, head, day, column, now),
        positions=_accounted(lake, contract, head, vector, day),
        age=_age(rows, now) if day == now.date() else None,
    )


def _accounted(lake: Lake, contract: TableContract, head: Head, vector: Vector, day: date) -> pa.Table | None:
    """The positions of the table's topic; None where it has several topics, and is a part of each of their accounts."""
    if len(contract.fed_by) != 1:
        return None
    others = [lake.head_and_vector(name) for name in lake.beside(contract)]
    reached = {
        topic: {at: min([end, *(other[topic][at] for _, other in others)]) for at, end in parts.items()}
        for topic, parts in vector.items()
    }
    heads, since = [head, *(other for other, _ in others)], day_bounds(day)[0]
    accounted = positions_accounted(lake.session, heads, reached, since)
    return less_erased(accounted, lake.rows_erased((contract.name, *lake.beside(contract)), since))


def _age(rows: pa.Table, now: datetime) -> pa.Table:
    newest = pc.max(rows["kafka_time"]).as_py()
    return pa.table({"age_seconds": pa.array([newest and (now - newest).total_seconds()], pa.float64())})
