"""Objects that no snapshot names: found, marked, fenced off, deleted. Never one that anybody may still bring in.

Holds: the look (list, compare, mark) and the sweep (fence, compare again, delete), each to be repeated after a kill at
any point.
Does not hold: when the wait is over (plan.py), what other rooms hold back (the caller says), the reasoning at length
(infra/decisions/0017).

An object that no snapshot names may be the newest work of a writer that stands still between staging and its swap, for
hours. So a sweep first changes the head and the table's `wardstream.sweep` in one commit: a swap that was prepared
before meets another head, and who plans it again sees another sweep and stages anew. Only what was marked before the
fence and is not named behind it is deleted.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from warehouse.commit import FencedTable
from warehouse.object_store import Listing, SinglePutFileIO, StoredObject, StoreUnavailableError
from warehouse.snapshots import SweepOvertakenError
from warehouse.staging import SWEEP
from warehouse.sweep_objects import SweepList, Unreferenced, mark_location, read_list, sweep_location
from warehouse.table_session import store_of
from warehouse.upkeep.observed import interrupted_sweep, named_objects, object_name

FOLDERS = ("data/", "metadata/")
SPARED = ("data/upkeep/", "data/retention/")
"""Folders below the table's with records that no snapshot names and that rooms of the house keep by themselves."""
KINDS = {".parquet": "data file", ".metadata.json": "metadata file", ".avro": "manifest or manifest list"}
"""Endings of what writers of the table leave, and what it is. Anything else is not ours to delete."""
FAILURES = (OSError, BotoCoreError, ClientError)

Progress = Callable[[str], None]


class SharedLocationError(Exception):
    """Another table lies in the same folder: what this one does not name may be the other's."""


@dataclass(frozen=True, slots=True)
class SweepReceipt:
    """What a sweep deleted. `spared`: marked and yet named, or held, behind the fence."""

    sweep: str
    objects: int
    size_bytes: int
    spared: int


def store_time(table: Table) -> datetime:
    """What time it is by the store's own clock. Raises `StoreUnavailableError`."""
    return _listed(store_of(table), sweep_location(table, "").rpartition("/")[0] + "/").at


def look(table: Table, held: Iterable[str] = ()) -> SweepList:
    """What no snapshot of a table names. Lists first, and loads the metadata after that: an object that came into the
    table in between is named. `held` are locations that are spared whatever names them.

    Raises `StoreUnavailableError`: then nothing can be said.
    """
    store, base = store_of(table), table.location().rstrip("/")
    listings = [_listed(store, f"{base}/{folder}") for folder in FOLDERS]
    table = table.catalog.load_table(table.name())
    snapshot = table.current_snapshot()
    named = named_objects(table) | {object_name(location) for location in held}
    spared = tuple(object_name(f"{base}/{folder}") for folder in SPARED)
    found = [
        Unreferenced(each.location, each.size_bytes, kind)
        for listing in listings
        for each in listing.objects
        if (kind := _kind(each)) and (name := object_name(each.location)) not in named and not name.startswith(spared)
    ]
    at = max(listing.at for listing in listings)
    sequence = (snapshot.sequence_number or 0) if snapshot else 0
    return SweepList(uuid.uuid4().hex, str(table.metadata.table_uuid), at, sequence, tuple(found))


def mark(table: Table, held: Iterable[str] = (), progress: Progress = lambda step: None) -> SweepList:
    """Look, and leave what was found where the next run finds it. Raises `StoreUnavailableError`, OSError."""
    progress("look")
    found = look(table, held)
    progress("mark")
    store_of(table).put(mark_location(table), found.encoded())
    progress("marked")
    return found


def sweep(
    fenced: FencedTable,
    table: Table,
    marked: SweepList,
    held: Iterable[str] = (),
    progress: Progress = lambda step: None,
) -> SweepReceipt:
    """Delete what was marked and is still not named, after a fence. `marked` must be as old as the longest wait; no
    sweep may be left unfinished (`resume`).

    Raises `SweepOvertakenError` where another sweep came first (nothing was deleted), `StoreUnavailableError`,
    `TableChangedError`.
    """
    if interrupted_sweep(table) is not None:
        raise ValueError(f"table {fenced.name}: another sweep is not at its end; resume it first")
    doomed = _without(marked, {*named_objects(table), *map(object_name, held)})
    if not doomed.objects:
        return SweepReceipt("", 0, 0, len(marked.objects))
    ours = replace(doomed, id=uuid.uuid4().hex, before=table.properties.get(SWEEP))
    location = sweep_location(table, ours.id)
    progress("list")
    store_of(table).put(location, ours.encoded())
    progress("fence")
    try:
        head = fenced.sweep_fence(ours.id, ours.before)
    except SweepOvertakenError:
        # Its fence can never land any more, so nobody is told anything by this list.
        _delete(table, [location])
        raise
    progress("fenced")
    if head.metadata.properties.get(SWEEP) != ours.id:
        raise StoreUnavailableError(f"table {fenced.name}: the catalog took a snapshot and not the property beside it")
    return _finish(head.table, ours, len(marked.objects), progress)


def resume(table: Table, progress: Progress = lambda step: None) -> SweepReceipt | None:
    """Bring a sweep to its end that was interrupted behind its fence; None where none was.

    `table` freshly loaded. What it holds back was decided before the fence. Raises `StoreUnavailableError`.
    """
    begun = interrupted_sweep(table)
    return None if begun is None else _finish(table, begun, len(begun.objects), progress)


def require_own_location(catalog: Catalog, table: Table) -> None:
    """Raises `SharedLocationError` if another table of the catalog lies in, above or below this one's folder."""
    mine = object_name(table.location()).rstrip("/") + "/"
    for namespace in catalog.list_namespaces():
        for identifier in catalog.list_tables(namespace):
            if tuple(identifier) != tuple(table.name()):
                other = object_name(catalog.load_table(identifier).location()).rstrip("/") + "/"
                if mine.startswith(other) or other.startswith(mine):
                    raise SharedLocationError(
                        f"{'.'.join(identifier)} lies in {table.location()} too; move one of them"
                    )


def _finish(table: Table, ours: SweepList, marked: int, progress: Progress) -> SweepReceipt:
    """Delete what the sweep's list has and the table, which has its fence, does not name. Behind the fence nothing of
    the list can become named any more, so it does not matter how long this takes."""
    doomed = _without(ours, named_objects(table))
    progress("delete")
    _delete(table, [each.location for each in doomed.objects])
    progress("deleted")
    _delete(table, [sweep_location(table, ours.id), *_dead_lists(table, ours.id)])
    progress("swept")
    return SweepReceipt(ours.id, len(doomed.objects), doomed.size_bytes, marked - len(doomed.objects))


def _dead_lists(table: Table, sweep: str) -> list[str]:
    """Lists of sweeps that were killed before their fence, and whose fence cannot land behind that of `sweep`."""
    prefix, store = sweep_location(table, "").removesuffix(".parquet"), store_of(table)
    lists = [each.location for each in _listed(store, prefix.rpartition("/")[0] + "/").objects]
    others = [location for location in lists if location.startswith(prefix) and sweep not in location]
    return [location for location in others if (found := read_list(store, location)) and found.before != sweep]


def _without(found: SweepList, names: set[str]) -> SweepList:
    objects = tuple(each for each in found.objects if object_name(each.location) not in names)
    return replace(found, objects=objects)


def _kind(each: StoredObject) -> str:
    return next((kind for ending, kind in KINDS.items() if each.location.endswith(ending)), "")


def _listed(store: SinglePutFileIO, prefix: str) -> Listing:
    try:
        return store.listed(prefix)
    except FAILURES as error:
        raise StoreUnavailableError(f"{prefix} cannot be listed ({type(error).__name__})") from error


def _delete(table: Table, locations: list[str]) -> None:
    try:
        store_of(table).delete_many(locations)
    except FAILURES as error:
        raise StoreUnavailableError(f"the store did not delete all ({type(error).__name__})") from error
