"""Ways of tampering with one thing in a history, for the tests of the oracle itself.

Holds: changes of rows, logs, ledgers and vectors, each made of a function. Does not hold: any particular fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from .history import History, LakeTable
from .perfect import TOPIC_IDS


def change_table(history: History, name: str, change: Callable[[LakeTable], LakeTable]) -> History:
    return replace(history, tables={**history.tables, name: change(history.tables[name])})


def change_rows(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[History], History]:
    """Change the rows; both counts follow, so that no tampering is found by its count alone."""

    def tamper(history: History) -> History:
        def changed(table: LakeTable) -> LakeTable:
            rows = change(table.rows)
            return replace(table, rows=rows, duckdb_count=len(rows))

        return change_table(history, name, changed)

    return tamper


def change_log(name: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[History], History]:
    def tamper(history: History) -> History:
        stream = history.streams[name]
        return replace(history, streams={**history.streams, name: replace(stream, log=change(stream.log))})

    return tamper


def change_sent(change: Callable[[pa.Table], pa.Table]) -> Callable[[History], History]:
    def tamper(history: History) -> History:
        (ledger,) = history.ledgers
        return replace(history, ledgers=(replace(ledger, sent=change(ledger.sent)),))

    return tamper


def drop(i: int) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: pa.concat_tables([rows.slice(0, i), rows.slice(i + 1)])


def double(i: int) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: pa.concat_tables([rows, rows.slice(i, 1)])


def swap(i: int, j: int, *names: str) -> Callable[[pa.Table], pa.Table]:
    """Rows i and j exchange what they have in these columns."""

    def change(rows: pa.Table) -> pa.Table:
        order = np.arange(len(rows))
        order[[i, j]] = order[[j, i]]
        for name in names:
            rows = rows.set_column(rows.schema.get_field_index(name), name, rows[name].take(pa.array(order)))
        return rows

    return change


def put(i: int, **cells: object) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        for name, cell in cells.items():
            old = rows[name]
            plain = old.cast(pa.string()) if pa.types.is_dictionary(old.type) else old
            fresh = pa.chunked_array(
                [[*plain.slice(0, i).to_pylist(), cell, *plain.slice(i + 1).to_pylist()]], plain.type
            )
            fresh = fresh.dictionary_encode() if pa.types.is_dictionary(old.type) else fresh
            rows = rows.set_column(rows.schema.get_field_index(name), name, fresh)
        return rows

    return change


def retell(name: str, change: Callable[[Any], object]) -> Callable[[pa.Table], pa.Table]:
    """Every value of a column changed."""

    def retold(rows: pa.Table) -> pa.Table:
        values = [None if value is None else change(value) for value in rows[name].to_pylist()]
        column = pa.chunked_array([values], rows.schema.field(name).type)
        return rows.set_column(rows.schema.get_field_index(name), name, column)

    return retold


def delay(i: int, name: str, microseconds: int) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        moved = rows[name].cast(pa.int64()).to_numpy().copy()
        moved[i] += microseconds
        at = pa.array(moved).cast(rows.schema.field(name).type)
        return rows.set_column(rows.schema.get_field_index(name), name, at)

    return change


def move_vector(name: str, stream: str, partition: int, step: int) -> Callable[[History], History]:
    def change(table: LakeTable) -> LakeTable:
        vector = {topic: dict(nexts) for topic, nexts in table.vector.items()}
        vector[TOPIC_IDS[stream]][partition] += step
        return replace(table, vector=vector)

    return lambda history: change_table(history, name, change)
