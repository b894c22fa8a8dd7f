"""Profiles, looks and monitors of drift in the lake: what stays were, what was found of those of late, what goes on.

Holds: rows in and out of `drift_profiles`, `drift_reports` and `drift_monitors`, unchanged.
Does not hold: what they mean (`pipelines/clinical/sepsis/drift.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import Contracts
from warehouse.tables import arrow_schema

PROFILES, REPORTS, MONITORS = "drift_profiles", "drift_reports", "drift_monitors"


class Looks:
    """The three tables of one lake."""

    def __init__(self, catalog: Catalog, namespace: str, contracts: Contracts, writer: str) -> None:
        self._catalog, self._namespace, self._contracts, self._writer = catalog, namespace, contracts, writer

    def keep_profile(self, version: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append a model's profile; of scopes that it has already nothing changes."""
        known = {row["scope"] for row in self.profile(version)}
        if new := [row for row in rows if row["scope"] not in known]:
            self._append(PROFILES, new)

    def profile(self, version: str) -> list[dict[str, Any]]:
        """The rows of a model's profile; empty where it has none."""
        return _of_version(self._read(PROFILES), version)

    def report(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append what a look found, a row a cause."""
        self._append(REPORTS, rows)

    def reports(self) -> list[dict[str, Any]]:
        """Every cause of every look, oldest first."""
        return sorted(self._read(REPORTS).to_pylist(), key=lambda row: (row["made_at"], row["look"]))

    def monitor(self, monitor: str, version: str) -> dict[str, Any] | None:
        """Where a monitor of a model stands; None where it has not begun."""
        rows = [row for row in _of_version(self._read(MONITORS), version) if row["monitor"] == monitor]
        return max(rows, key=lambda row: (seen_until(row), row["made_at"])) if rows else None

    def keep_monitor(self, row: Mapping[str, Any]) -> None:
        """Append where a monitor stands now."""
        self._append(MONITORS, [row])

    def _read(self, table: str) -> pa.Table:
        return load_table(self._catalog, self._namespace, table).scan().to_arrow()

    def _append(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        schema = arrow_schema(self._contracts.table(table))
        fenced = FencedTable(self._catalog, (self._namespace, table), writer=self._writer)
        fenced.append_derived(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), {})


def seen_until(row: Mapping[str, Any]) -> datetime:
    """Up to when a monitor has seen what came. An earlier release kept looks at days that were not over: of what came
    after such a row was made it has seen nothing."""
    return min(row["seen_until"], row["made_at"])


def _of_version(table: pa.Table, version: str) -> list[dict[str, Any]]:
    return table.filter(pc.equal(table["version"], version)).to_pylist()
