"""A session of SQL that has one table: our own interface over DuckDB, without a lake."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa


class OneTable:
    def __init__(self, name: str, rows: list[dict[str, Any]]) -> None:
        self._name, self._rows = name, rows

    def query(self, sql: str, parameters: dict[str, object]) -> Any:
        with duckdb.connect() as session:
            session.register(self._name, pa.Table.from_pylist(self._rows))
            return SimpleNamespace(table=session.execute(sql, parameters).to_arrow_table())
