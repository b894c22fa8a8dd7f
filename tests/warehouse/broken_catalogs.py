"""Catalogs and stores with one fault each, as a verification opens them by name: `open(settings)`.

Holds: the faults. Each is a thing that a real catalog or store has been seen to do, or could.
Does not hold: what a verification says of them (test_catalog_verification.py).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyarrow as pa
from botocore.exceptions import ClientError
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import CommitTableResponse, StagedTable, Table
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, AssertTableUUID
from sqlalchemy import update
from sqlalchemy.orm import Session

from warehouse import catalog as product
from warehouse.settings import Settings
from warehouse.verification.catalog_jobs import TOKEN
from warehouse.verification.store_jobs import open_store

Commit = Callable[[Table, tuple, tuple], CommitTableResponse]


def ignores_requirements(settings: Settings) -> SqlCatalog:
    """Whatever the head is, the new snapshot becomes it."""
    catalog, own = _opened(settings)

    def commit(table: Table, _: tuple, updates: tuple) -> CommitTableResponse:
        time.sleep(random.uniform(0.0, 0.2))  # so that who read the same head writes behind the other, not beside it
        return own(table, (), _rebased(catalog, table, updates))

    catalog.commit_table = commit
    return catalog


def last_write_wins(settings: Settings) -> SqlCatalog:
    """Writes the pointer without comparing it: SeaweedFS before 4.42."""
    catalog, _ = _opened(settings)

    def commit(table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        staged = catalog._update_and_stage_table(catalog.load_table(table.name()), table.name(), requirements, updates)
        catalog._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        time.sleep(0.05)  # as long as another writer needs to do the same
        namespace, name = table.name()
        pointer = update(IcebergTables).where(
            IcebergTables.table_namespace == namespace, IcebergTables.table_name == name
        )
        with Session(catalog.engine) as session:
            session.execute(pointer.values(metadata_location=staged.metadata_location))
            session.commit()
        return _response(staged)

    catalog.commit_table = commit
    return catalog


def acknowledges_and_loses(settings: Settings) -> SqlCatalog:
    """Every second commit of a process is acknowledged and not made."""
    catalog, own = _opened(settings)
    turns = _Turns()

    def commit(table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        if turns.every(2):
            return _response(catalog._update_and_stage_table(table, table.name(), (), updates))
        return own(table, requirements, updates)

    catalog.commit_table = commit
    return catalog


def refuses_and_makes(settings: Settings) -> SqlCatalog:
    """Every second commit of a process is made and answered as a conflict."""
    catalog, own = _opened(settings)
    turns = _Turns()

    def commit(table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        response = own(table, requirements, updates)
        if turns.every(2):
            raise CommitFailedException("it was not")
        return response

    catalog.commit_table = commit
    return catalog


def repeats_commits(settings: Settings) -> SqlCatalog:
    """Every second commit of a process is made twice, as by a retry that re-bases."""
    catalog, own = _opened(settings)
    turns = _Turns()

    def commit(table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        response = own(table, requirements, updates)
        summary = updates[0].snapshot.summary.additional_properties if len(updates) == 2 else {}
        if TOKEN in summary and turns.every(2):
            for _ in range(20):  # others race for the same heads
                with suppress(CommitFailedException):
                    catalog.load_table(table.name()).append(pa.table({"token": [summary[TOKEN]]}, _ROW))
                    break
        return response

    catalog.commit_table = commit
    return catalog


def lets_first_commits_overwrite(settings: Settings) -> SqlCatalog:
    """Does not look at a requirement that there be no snapshot: Nessie 0.99.0."""
    catalog, own = _opened(settings)

    def commit(table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        first = any(isinstance(r, AssertRefSnapshotId) and r.snapshot_id is None for r in requirements)
        return own(table, (), _rebased(catalog, table, updates)) if first else own(table, requirements, updates)

    catalog.commit_table = commit
    return catalog


def knows_no_uuid(settings: Settings) -> SqlCatalog:
    """Does not look at a requirement on the table's uuid."""
    catalog, own = _opened(settings)
    catalog.commit_table = lambda table, requirements, updates: own(
        table, tuple(r for r in requirements if not isinstance(r, AssertTableUUID)), updates
    )
    return catalog


def shows_no_history(settings: Settings) -> SqlCatalog:
    """Serves the head's snapshot and no other: Nessie 0.99.0."""
    catalog, _ = _opened(settings)
    load = catalog.load_table

    def loaded(identifier: Any) -> Table:
        table = load(identifier)
        head = table.current_snapshot()
        table.metadata = table.metadata.model_copy(update={"snapshots": [head] if head else [], "snapshot_log": []})
        return table

    catalog.load_table = loaded
    return catalog


def shows_an_older_table(settings: Settings) -> SqlCatalog:
    """Every third load of a process shows the table as its first one did: a cache."""
    catalog, _ = _opened(settings)
    load, turns, last = catalog.load_table, _Turns(), {}

    def loaded(identifier: Any) -> Table:
        if turns.every(3) and identifier in last:
            return last[identifier]
        table = load(identifier)
        last.setdefault(identifier, table)
        return table

    catalog.load_table = loaded
    return catalog


def loses_sight_of_tables(settings: Settings) -> SqlCatalog:
    """Every third load of a table with snapshots says that there is no such table."""
    catalog, _ = _opened(settings)
    load, turns = catalog.load_table, _Turns()

    def loaded(identifier: Any) -> Table:
        table = load(identifier)
        if table.current_snapshot() and turns.every(3):
            raise NoSuchTableError("there is")
        return table

    catalog.load_table = loaded
    return catalog


def replaces_what_exists(settings: Settings) -> SqlCatalog:
    """Creating a name that exists puts a new table in its place."""
    catalog, _ = _opened(settings)
    create = catalog.create_table

    def created(identifier: Any, *args: Any, **named: Any) -> Table:
        if catalog.table_exists(identifier):
            catalog.drop_table(identifier)
        return create(identifier, *args, **named)

    catalog.create_table = created
    return catalog


def lists_late(settings: Settings) -> Any:
    """A listing that does not know what was just written."""
    return _Lying(open_store(settings), list_objects_v2=lambda own, **asked: {"Contents": []})


def reads_late(settings: Settings) -> Any:
    """The first read of a new object finds nothing."""
    seen: set[str] = set()

    def get(own: Any, **asked: Any) -> Any:
        if asked["Key"] not in seen:
            seen.add(asked["Key"])
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return own.get_object(**asked)

    return _Lying(open_store(settings), get_object=get)


def keeps_deleted(settings: Settings) -> Any:
    """A deletion that is answered and not made."""
    return _Lying(open_store(settings), delete_objects=lambda own, **asked: {})


def ignores_conditions(settings: Settings) -> Any:
    """Takes every conditional write."""

    def put(own: Any, **asked: Any) -> Any:
        return own.put_object(**{name: value for name, value in asked.items() if not name.startswith("If")})

    return _Lying(open_store(settings), put_object=put)


def offers_no_conditions(settings: Settings) -> Any:
    """Says that conditional writes are not for sale."""

    def put(own: Any, **asked: Any) -> Any:
        if any(name.startswith("If") for name in asked):
            raise ClientError({"Error": {"Code": "NotImplemented"}}, "PutObject")
        return own.put_object(**asked)

    return _Lying(open_store(settings), put_object=put)


_ROW = pa.schema([pa.field("token", pa.string(), nullable=False)])


class _Turns:
    """Counts calls."""

    def __init__(self) -> None:
        self._calls = 0

    def every(self, n: int) -> bool:
        self._calls += 1
        return self._calls % n == 0


class _Lying:
    """A client of which some calls are answered by others, which are given the true one."""

    def __init__(self, own: Any, **lies: Callable[..., Any]) -> None:
        self._own, self._lies = own, lies

    def __getattr__(self, name: str) -> Any:
        lie = self._lies.get(name)
        return getattr(self._own, name) if lie is None else lambda **asked: lie(self._own, **asked)


def _opened(settings: Settings) -> tuple[SqlCatalog, Commit]:
    catalog = product.open_catalog(settings)
    assert isinstance(catalog, SqlCatalog)
    return catalog, catalog.commit_table


def _rebased(catalog: SqlCatalog, table: Table, updates: tuple) -> tuple:
    """The updates with a sequence number that the table as it stands would take."""
    number = catalog.load_table(table.name()).metadata.last_sequence_number + 1
    return tuple(
        AddSnapshotUpdate(snapshot=u.snapshot.model_copy(update={"sequence_number": number}))
        if isinstance(u, AddSnapshotUpdate)
        else u
        for u in updates
    )


def _response(staged: StagedTable) -> CommitTableResponse:
    return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)
