"""Tables as retention sees them: their class, their live files, and, where files do not say their day, rows by day.

Holds: the looking, through the catalog and the store.
Does not hold: any verdict (plan.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from warehouse.contract import Contracts, TableContract
from warehouse.retention.plan import TableState
from warehouse.retention_classes import RetentionClass
from warehouse.snapshots import Head, LiveFile, live_files, manifests_of
from warehouse.staging import EPOCH
from warehouse.table_session import store_of

MOST_UNDATED_ROWS = 5_000_000
"""A table without days is read and rewritten by retention; beyond so many rows it is refused."""


def observe(catalog: Catalog, namespace: str, contracts: Contracts, tables: Iterable[str]) -> list[TableState]:
    """The named tables; those that do not exist yet are left out. Raises `StoreUnavailableError`, OSError."""
    found = []
    for name in tables:
        try:
            table = catalog.load_table((namespace, name))
        except NoSuchTableError:
            continue
        contract = contracts.table(name)
        kept = contracts.retention_classes[contract.retention_class]
        found.append(state_of(table, contract, kept, contracts.stream(contract.stream).time.column))
    return found


def state_of(table: Table, contract: TableContract, kept: RetentionClass, time_column: str) -> TableState:
    """One table. `time_column`: the column of event time, for a table that is not partitioned by day."""
    files = tuple(files_of(table))
    if contract.daily:
        return TableState(contract.name, kept, table.location(), files)
    rows = sum(live.file.record_count for live in files)
    if kept.gone_after_days is not None and rows > MOST_UNDATED_ROWS:
        why = f"it has {rows} rows and no days to take out one by one: partition it by day in a new stream"
        return TableState(contract.name, kept, table.location(), files, refused=why)
    undated = rows_by_day(table, files, time_column) if kept.gone_after_days is not None else None
    return TableState(contract.name, kept, table.location(), files, undated=undated or {})


def files_of(table: Table) -> list[LiveFile]:
    """Live data files of a freshly loaded table."""
    return live_files(Head(table, manifests_of(table)), store_of(table))


def rows_by_day(table: Table, files: Iterable[LiveFile], column: str) -> Mapping[date | None, int]:
    """Rows by day (UTC) of a column of dates or times; None: no time."""
    counts: Counter[date | None] = Counter()
    for live in files:
        counts.update(days_in(read_file(table, live, [column])[column]))
    return counts


def days_in(column: pa.ChunkedArray) -> Counter[date | None]:
    """How many values of a column of dates or times fall on each day (UTC); None: null."""
    numbers = day_numbers(column)
    known = pc.drop_null(numbers).to_numpy()
    counts: Counter[date | None] = Counter()
    for number, n in zip(*np.unique(known, return_counts=True), strict=True):
        counts[EPOCH + timedelta(days=int(number))] += int(n)
    if nulls := len(numbers) - len(known):
        counts[None] = nulls
    return counts


def day_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """int64[n]: days since 1970 (UTC) of dates or times; null where they are."""
    if pa.types.is_date(column.type):
        return column.cast(pa.int32()).cast(pa.int64())
    return column.cast(pa.date32(), safe=False).cast(pa.int32()).cast(pa.int64())


def read_file(table: Table, live: LiveFile, columns: list[str] | None = None) -> pa.Table:
    """Rows of one data file, or some of their columns."""
    with store_of(table).new_input(live.file.file_path).open() as stream:
        return pq.read_table(stream, columns=columns)
