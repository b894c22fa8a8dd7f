"""Holds: days of tables that retention must leave as they are, whatever their class says.

Holds: what a hold covers, and the table `retention_holds` in which each placing and lifting is a row.
Does not hold: what a hold prevents (plan.py decides, doer.py asks again before and after it acts).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import TableContract
from warehouse.tables import arrow_schema

TABLE = "retention_holds"
PLACED, LIFTED = "placed", "lifted"
EVERY_TABLE = "*"
LEAST_REASON = 8


class HoldError(ValueError):
    """A hold that cannot be placed or lifted as asked. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force. `table` may be `*`: every table. A missing day: open at that end. `placed_at` aware."""

    hold: str
    table: str
    first_day: date | None
    last_day: date | None
    reason: str
    who: str
    placed_at: datetime

    def covers(self, table: str, day: date) -> bool:
        """Whether it keeps that day of that table."""
        return (
            self.table in (EVERY_TABLE, table)
            and (self.first_day is None or self.first_day <= day)
            and (self.last_day is None or day <= self.last_day)
        )

    def __str__(self) -> str:
        """Which it is and what it covers."""
        if self.first_day is None and self.last_day is None:
            days = "all days"
        else:
            days = f"{self.first_day or 'the beginning'} to {self.last_day or 'the end'}"
        return f"{self.hold} ({'every table' if self.table == EVERY_TABLE else self.table}, {days})"


def holding(holds: Iterable[Hold], table: str, day: date) -> Hold | None:
    """The first of the holds that covers the day; None where none does."""
    return next((hold for hold in holds if hold.covers(table, day)), None)


class HoldRegister:
    """The table of holds, as it is at each look."""

    def __init__(self, catalog: Catalog, namespace: str, contract: TableContract, writer: str) -> None:
        self._catalog, self._namespace, self._contract = catalog, namespace, contract
        self._table = FencedTable(catalog, (namespace, contract.name), writer=writer)
        self._seen: tuple[int | None, tuple[Mapping[str, Any], ...]] = (None, ())

    def in_force(self) -> tuple[Hold, ...]:
        """Holds that are placed and not lifted, oldest first. Raises `TableMismatchError` where the table is missing:
        without holds to ask, nothing may be done."""
        lifted = {row["hold"] for row in self.acts() if row["act"] == LIFTED}
        placed = [row for row in self.acts() if row["act"] == PLACED and row["hold"] not in lifted]
        return tuple({row["hold"]: _hold(row) for row in placed}.values())

    def acts(self) -> tuple[Mapping[str, Any], ...]:
        """Every placing and lifting, oldest first, a mapping of the contract's columns each."""
        table = load_table(self._catalog, self._namespace, self._contract.name)
        snapshot = table.current_snapshot()
        if snapshot is None:
            return ()
        if self._seen[0] != snapshot.snapshot_id:
            rows = table.scan().to_arrow().sort_by("at").to_pylist()
            self._seen = (snapshot.snapshot_id, tuple(rows))
        return self._seen[1]

    def place(self, hold: Hold) -> None:
        """Place a hold, unless one of this name is placed. Raises `HoldError` for one that says nothing or too little
        of why."""
        if len(hold.reason.strip()) < LEAST_REASON:
            raise HoldError(f"a hold needs a reason of {LEAST_REASON} letters or more; it names no patient")
        if hold.first_day and hold.last_day and hold.last_day < hold.first_day:
            raise HoldError("the last day of a hold is before its first")
        if all(row["hold"] != hold.hold for row in self.acts()):
            self._append(PLACED, hold, hold.reason, hold.who, hold.placed_at)

    def lift(self, name: str, reason: str, who: str, now: datetime) -> Hold:
        """Lift a hold; which it was. Raises `HoldError` where none of that name is in force."""
        found = next((hold for hold in self.in_force() if hold.hold == name), None)
        if found is None:
            raise HoldError(f"no hold {name} is in force; `wardstream retention hold list` shows those that are")
        if len(reason.strip()) < LEAST_REASON:
            raise HoldError(f"lifting a hold needs a reason of {LEAST_REASON} letters or more; it names no patient")
        self._append(LIFTED, found, reason, who, now)
        return found

    def _append(self, act: str, hold: Hold, reason: str, who: str, at: datetime) -> None:
        row = {
            "hold": hold.hold,
            "act": act,
            "table_name": hold.table,
            "first_day": hold.first_day,
            "last_day": hold.last_day,
            "reason": reason.strip(),
            "who": who,
            "at": at,
        }
        self._table.append_derived(pa.Table.from_pylist([row], schema=arrow_schema(self._contract)), {})


def _hold(row: Mapping[str, Any]) -> Hold:
    return Hold(row["hold"], row["table_name"], row["first_day"], row["last_day"], row["reason"], row["who"], row["at"])
