"""Receipts: what retention did, a row an act and day, in a table of its own.

Holds: the receipt, its way into the table `retention_receipts` (once, however often it is offered) and out of it.
Does not hold: the acts (doer.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import TableContract
from warehouse.tables import arrow_schema

TABLE = "retention_receipts"
COOLED, WARMED, REMOVED, RESTORED = "cooled", "warmed", "removed", "restored"
KEY_DESTROYED, ABANDONED = "key_destroyed", "abandoned"


@dataclass(frozen=True, slots=True)
class Receipt:
    """One act on one day of a table; fields are the contract's columns."""

    receipt: str
    act: str
    table_name: str
    day: date
    rows: int
    bytes: int
    files: int
    retention_class: str
    reason: str
    remains: str
    undo_until: datetime | None
    snapshot_id: int | None
    acted_by: str
    acted_at: datetime

    @property
    def key(self) -> tuple[str, str, str, date]:
        """What makes it one: it is in the table once."""
        return self.receipt, self.act, self.table_name, self.day


class ReceiptBook:
    """The table of receipts. One process at a time writes it (`retention_lock`)."""

    def __init__(self, catalog: Catalog, namespace: str, contract: TableContract, writer: str) -> None:
        self._catalog, self._namespace, self._contract = catalog, namespace, contract
        self._table = FencedTable(catalog, (namespace, contract.name), writer=writer)

    def read(self) -> list[Receipt]:
        """All receipts, oldest first. Raises `TableMismatchError` where the table is missing: what cannot be put on
        record is not done."""
        rows = load_table(self._catalog, self._namespace, self._contract.name).scan().to_arrow()
        found = {(each := Receipt(**row)).key: each for row in rows.to_pylist()}
        return sorted(found.values(), key=lambda each: (each.acted_at, each.key))

    def write(self, receipts: Iterable[Receipt]) -> None:
        """Append those that are not in it yet."""
        written = {each.key for each in self.read()}
        missing = [asdict(each) for each in receipts if each.key not in written]
        if missing:
            self._table.append_derived(pa.Table.from_pylist(missing, schema=arrow_schema(self._contract)), {})
