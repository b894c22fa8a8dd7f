"""A table as this process last saw it, and the requests that read and change it.

Holds: loading it with its head's manifests, the puts and the swap of one attempt, and what these raise.
Does not hold: when to try again (commit.py), nor what a change consists of (drafts.py, snapshots.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError, RESTError
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.snapshots import (
    TORN,
    Draft,
    Earlier,
    Head,
    Prepared,
    expirable,
    expiry_request,
    manifests_of,
    prepare,
    swap_request,
)
from warehouse.staging import StagedFiles, stage

SWEPT_FILES = 20
SHARED_ATTEMPTS = 30
"""So many attempts after another writer's commit look at the head first: on a remembered one they would be in vain."""
TRANSIENT = (OSError, SQLAlchemyError, RESTError, RequestException)
"""What store and catalog raise when they are down or slow. Anything else that comes twice is a bug."""


class TableChangedError(Exception):
    """The table is not the one this committer began with: dropped, or replaced by another of its name."""


class StaleHead(Exception):
    """A verdict other than "append all of it" was reached on a remembered head: it needs a fresh one."""


class TableSession:
    """The table and its head as this process last saw them, and the requests that read and change them."""

    def __init__(
        self,
        catalog: Catalog,
        identifier: tuple[str, str],
        clock: Callable[[], datetime],
        progress: Callable[[str], None],
        kept_snapshots: int,
    ) -> None:
        self._catalog, self._identifier, self._clock = catalog, identifier, clock
        self._progress, self._kept_snapshots = progress, kept_snapshots
        self._head: Head | None = None
        self._shared_for = 0
        self._uuid: uuid.UUID | None = None
        self._unlogged: list[str] = []

    @property
    def name(self) -> str:
        return ".".join(self._identifier)

    def head(self) -> Head:
        """The head as an earlier call left it, remembered; or else, and as long as others write too, a fresh one."""
        known = self._head
        if known is not None and not self._shared_for:
            return replace(known, remembered=True)
        self._shared_for = max(0, self._shared_for - 1)
        head = self.load()
        if known is not None and known.metadata.current_snapshot_id != head.metadata.current_snapshot_id:
            self._shared_for = SHARED_ATTEMPTS
        return head

    def overtaken(self) -> None:
        """Another writer's commit came first."""
        self._shared_for = SHARED_ATTEMPTS
        self.forget()

    def forget(self) -> None:
        """Any doubt about the head: read it again next time."""
        self._head = None

    def load(self) -> Head:
        """The table, freshly read, with its head's manifests."""
        self._progress("load")
        self.forget()
        try:
            table = self._catalog.load_table(self._identifier)
            manifests = manifests_of(table)
        except NoSuchTableError as error:
            raise TableChangedError(f"table {self.name} is not in the catalog; `wardstream contracts apply`") from error
        except TORN as error:
            raise StoreUnavailableError(f"table {self.name}: its metadata came incomplete") from error
        if self._uuid not in (None, table.metadata.table_uuid):
            raise TableChangedError(f"table {self.name} was replaced by another of the same name; start again with it")
        self._uuid = table.metadata.table_uuid
        self._head = Head(table, manifests)
        return self._head

    def stage(self, table: Table, rows: pa.Table) -> StagedFiles:
        """Put the rows into the store as files of this table."""
        self._progress("stage")
        return stage(table, rows, store_of(table))

    def prepare(self, head: Head, draft: Draft, earlier: Earlier | None = None) -> Prepared:
        """Put the snapshot's manifests into the store. `earlier`: as `snapshots.prepare` takes it."""
        self._progress("manifest")
        now_ms = int(self._clock().timestamp() * 1000)
        return prepare(head, draft, store_of(head.table), now_ms, earlier)

    def swap(self, head: Head, prepared: Prepared) -> Head:
        """Ask the catalog. On return the snapshot is the table's head; after `CommitFailedException` it is not and
        never will be; after anything else nobody knows."""
        self._progress("swap")
        self.forget()
        request = swap_request(self._catalog, head.metadata, prepared, self._kept_snapshots)
        response = self._catalog.commit_table(head.table, *request)
        if response.metadata.current_snapshot_id != prepared.snapshot.snapshot_id:
            raise StoreUnavailableError(f"table {self.name}: the catalog accepted a commit and shows another head")
        self._progress("landed")
        before, table = head.metadata, head.table
        table.metadata, table.metadata_location = response.metadata, response.metadata_location
        self._head = Head(table, prepared.manifests)
        self._sweep(table, before)
        return self._head

    def expire(self, snapshot_ids: Iterable[int]) -> list[int]:
        """Let those of the snapshots go that may; which of them are gone now. Raises `CommitFailedException` where the
        head or a branch changed in this moment."""
        asked, head = list(snapshot_ids), self.load()
        leaving = expirable(head.metadata, asked)
        if leaving:
            self._progress("expire")
            self.forget()
            self._catalog.commit_table(head.table, *expiry_request(self._catalog, head.metadata, leaving))
        there = {snapshot.snapshot_id for snapshot in head.metadata.snapshots}
        return [id_ for id_ in asked if id_ in leaving or id_ not in there]

    def _sweep(self, table: Table, before: TableMetadata) -> None:
        """Delete metadata files that fell out of the table's bounded log, many at once. The catalog leaves them to us;
        no snapshot and no reader of the last twenty versions needs them."""
        logged = {entry.metadata_file for entry in table.metadata.metadata_log}
        self._unlogged += [e.metadata_file for e in before.metadata_log if e.metadata_file not in logged]
        if len(self._unlogged) >= SWEPT_FILES:
            with suppress(*TRANSIENT, BotoCoreError, ClientError):
                store_of(table).delete_many(self._unlogged)
            self._unlogged = []


def store_of(table: Table) -> SinglePutFileIO:
    if not isinstance(table.io, SinglePutFileIO):
        raise TypeError(f"table {'.'.join(table.name())} was not loaded through `open_catalog`")
    return table.io
