"""A small lake with every kind of column: rows of all tables, brought by the product's own commits, twice each.

Holds: the filling. Does not hold: the rows of the small ward (`tests/warehouse/small_ward.py`), nor any server.
"""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa

from tests.warehouse.fenced import MINUTE, NOON, TOPIC, interval, readings
from tests.warehouse.small_ward import ROWS
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import TableContract, load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings
from warehouse.tables import arrow_schema

MANY = 20_000
"""Readings over about two days, in two commits, besides the few rows of the ward."""


def fill(settings: Settings) -> None:
    """Make the tables and bring their rows."""
    for name, rows in ROWS.items():
        contract = load_contracts().table(name)
        create_table(open_catalog(settings), settings.namespace, contract, table_lock(settings))
        table = FencedTable(open_catalog(settings), (settings.namespace, name), writer="small-lake")
        if contract.positioned:
            _bring(table, contract, rows)
        else:
            table.append_derived(pa.Table.from_pylist(rows, arrow_schema(contract)), {})
    vitals = FencedTable(open_catalog(settings), (settings.namespace, "vitals"), writer="small-lake")
    for start in range(0, MANY, MANY // 2):
        end = start + MANY // 2
        told = readings(start, end, partition=1, first_us=NOON + start * MINUTE // 10, step_us=MINUTE // 10)
        vitals.commit(told, [interval(start, end, partition=1)])


def _bring(table: FencedTable, contract: TableContract, rows: list[dict[str, object]]) -> None:
    """In two commits, split by position. What lies between the positions is accounted for without rows."""
    table.establish(TOPIC, {0: 0, 1: 0})
    placed = [{**row, "topic_id": TOPIC} for row in sorted(rows, key=lambda row: int(str(row["kafka_offset"])))]
    bounds = [0, *[int(str(row["kafka_offset"])) + 1 for row in (placed[len(placed) // 2], placed[-1])]]
    for start, end in pairwise(bounds):
        part = [row for row in placed if start <= int(str(row["kafka_offset"])) < end]
        if end > start:
            table.commit(pa.Table.from_pylist(part, arrow_schema(contract)), [Interval(TOPIC, 0, start, end)])
