"""The end of an act, after its undo window: cold objects that nobody names go, and with them the record.

Holds: that, for objects outside the table's own folder, which upkeep's sweep does not list.
Does not hold: objects in the table's folder; the sweep takes them once no record holds them.

A copy has a name that is used once, so only the act that made it could still refer to it, and that follows its record
within `IN_FLIGHT` or not at all. A fresh head stands between: a change that was planned before it must be planned anew,
and then finds itself too late.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from warehouse.commit import FencedTable
from warehouse.retention.receipts import ABANDONED, REMOVED, RESTORED, ReceiptBook
from warehouse.retention.undo import UndoRecord, located_records
from warehouse.snapshots import ROWS
from warehouse.table_session import store_of

LONGEST_QUERY = timedelta(hours=24)
"""After its window an act is left alone so long: who reads an old snapshot comes to an end."""


def purge(catalog: Catalog, identifier: tuple[str, str], book: ReceiptBook, now: datetime) -> list[str]:
    """Delete what is over of one table; the locations deleted. Harmless to repeat, and after a kill.

    An act that was not told yet stays. So does one whose cold objects a snapshot names: upkeep expires that first.
    """
    try:
        table = catalog.load_table(identifier)
    except NoSuchTableError:
        return []
    over = {at: each for at, each in located_records(table).items() if each.until + LONGEST_QUERY <= now}
    acts: dict[str, set[str]] = {}
    for receipt in book.read() if over else []:
        if receipt.table_name == identifier[1]:
            acts.setdefault(receipt.receipt, set()).add(receipt.act)
    ended = {at: each for at, each in over.items() if each.receipt in acts}
    cold = {at: _cold_objects(table, each, acts[each.receipt]) for at, each in ended.items()}
    if ended:
        # A head of its own between the looking and the deleting; upkeep, which looks after commits, looks again too.
        FencedTable(catalog, identifier, writer="retention").cluster_manifests({ROWS: "0"})
        table = catalog.load_table(identifier)
    named = _named(table) if any(cold.values()) else frozenset()
    deleted = [[*sorted(objects), at] for at, objects in cold.items() if named.isdisjoint(objects)]
    locations = [location for each in deleted for location in each]
    if locations:
        store_of(table).delete_many(locations)
    return locations


def _cold_objects(table: Table, record: UndoRecord, acts: set[str]) -> set[str]:
    """Objects of an act outside the table's folder that its end leaves to nobody."""
    own = f"{table.location().rstrip('/')}/"
    left: set[str] = set()
    if REMOVED in acts and RESTORED not in acts:
        left |= {live.file.file_path for live in record.files}
    if acts <= {ABANDONED} or RESTORED in acts:
        left |= set(record.copies.values())
    if record.act == "warm" and not acts <= {ABANDONED}:
        left |= {live.file.file_path for live in record.files}
    return {location for location in left if not location.startswith(own)}


def _named(table: Table) -> frozenset[str]:
    """Data files that any snapshot of the table names."""
    names: set[str] = set()
    for snapshot in table.metadata.snapshots:
        for manifest in snapshot.manifests(table.io):
            names |= {entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io)}
    return frozenset(names)
