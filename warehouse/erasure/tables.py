"""Tables as stores of people: their rows leave, and with them every older layer that still has them.

Holds: locate, erase, seal, expire, purge and prove for one table.
Does not hold: whose turn it is (run.py), the reading of files (token_rows.py), the fence (`warehouse/commit.py`).

A table lets go in five layers: rows (files written anew without them, in one fenced commit that carries the offset
vector), manifests (the commit itself still names the files it took out, with their bounds: a second one does not),
snapshots, objects, and what a store keeps of deleted objects. Whatever happens in between, the same calls made again
end in the same state: each looks at the table as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRefType

from warehouse.commit import FencedTable
from warehouse.erasure.stores import Erased, Found, PinnedError, Progress, Subject, by_token, counted
from warehouse.erasure.token_rows import Object, tokens_in, without
from warehouse.object_store import StoreUnavailableError
from warehouse.retention.undo import UndoRecord, held_paths, located_records
from warehouse.snapshots import FilesChangedError, Head, LiveFile, live_files, manifests_of
from warehouse.staging import EPOCH, StagedFiles
from warehouse.table_session import store_of
from warehouse.upkeep.observed import interrupted_sweep, named_objects, object_name
from warehouse.upkeep.sweep import look, require_own_location, resume, sweep

ERASURE = "wardstream.erasure"
"""Summary key of a snapshot that erasure made: the step."""

MOST_BYTES_AT_ONCE = 512 << 20
"""Files of so many bytes are exchanged in one commit: rows are in the store twice until the older layers go."""
MOST_FILES_AT_ONCE = 4
ROUNDS = 20
_FAILURES = (OSError, BotoCoreError, ClientError)


class StillChangingError(Exception):
    """Other writers replaced the table's files each time erasure was about to. Run it again when they are done."""


@dataclass(slots=True)
class TableStore:
    """One table. `column`: of tokens. `cold`: the folder of its cold files, empty where there is none. `now`: the time,
    aware, for windows of undo that are open."""

    catalog: Catalog
    identifier: tuple[str, str]
    column: str
    writer: str
    now: Callable[[], datetime]
    cold: str = ""
    progress: Progress = lambda step: None

    @property
    def name(self) -> str:
        return f"table:{self.identifier[1]}"

    def locate(self, subjects: Collection[Subject]) -> Found:
        """Rows of the head, and the files they stand in. Raises `StoreUnavailableError`."""
        table = self._load()
        if table is None:
            return Found({})
        found = self._in_head(table, subjects)
        tokens: Counter[str] = sum(found.values(), Counter())
        days = {live.day for live in _files(table) if live.file.file_path in found}
        return Found(_per_request(tokens, subjects), {"objects": sorted(found), "days": sorted(map(_iso, days))})

    def erase(self, subjects: Collection[Subject]) -> Erased:
        """Write every file that has rows of theirs anew without them. Raises `StillChangingError`,
        `StoreUnavailableError`."""
        tokens, rows, size, snapshots = by_token(subjects), 0, 0, []
        objects: list[Object] = []
        for _ in range(ROUNDS):
            table = self._load()
            if table is None:
                break
            theirs = self._in_head(table, subjects)
            if not theirs:
                break
            try:
                for files in _batches([live for live in _files(table) if live.file.file_path in theirs]):
                    was, staged, snapshot = self._exchange(table, files, tokens)
                    objects += was
                    rows += sum(each.theirs for each in was)
                    size += staged.size_bytes
                    snapshots.append(snapshot)
            except FilesChangedError:
                continue
        else:
            raise StillChangingError(f"{self.name}: others kept exchanging its files; run the erasure again")
        evidence = {"objects": [_told(each) for each in objects], "snapshots": [each for each in snapshots if each]}
        return Erased(rows, 0, size, evidence)

    def _exchange(
        self, table: Table, files: list[LiveFile], tokens: Collection[str]
    ) -> tuple[list[Object], StagedFiles, int | None]:
        """New files in the place of these, in one commit."""
        self.progress("rewrite")
        with ThreadPoolExecutor(MOST_FILES_AT_ONCE) as rewriting:
            done = list(rewriting.map(lambda live: without(table, live, self.column, tokens), files))
        was, staged = [one for one, _ in done], [files_of_it for _, files_of_it in done]
        whole = StagedFiles(
            tuple(file for each in staged for file in each.files),
            staged[0].schema_id,
            staged[0].spec_id,
            staged[0].sweep,
        )
        self.progress("exchange")
        gone = sum(each.theirs for each in was)
        receipt = self._fenced().replace_files(files, whole, {ERASURE: "delete"}, fewer_rows=gone)
        self.progress("exchanged")
        return was, whole, receipt.snapshot_id

    def seal(self, subjects: Collection[Subject]) -> Erased:
        """Manifests that name nothing of what left, where the head's still do."""
        table = self._load()
        telling = _telling(table) if table else 0
        if table is None or not telling:
            return Erased(0, 0)
        self.progress("seal")
        receipt = self._fenced().cluster_manifests({ERASURE: "seal"})
        return Erased(telling, _telling(self._load()), evidence={"snapshot": receipt.snapshot_id})

    def expire(self, subjects: Collection[Subject]) -> Erased:
        """Let every snapshot but the head go. One that a branch or tag names stays where it has none of them, and
        raises `PinnedError` where it has."""
        table = self._load()
        if table is None or table.current_snapshot() is None:
            return Erased(0, 0)
        self._require_unpinned(table, subjects)
        older = [
            each.snapshot_id
            for each in table.metadata.snapshots
            if each.snapshot_id != table.metadata.current_snapshot_id
        ]
        if not older:
            return Erased(0, 0)
        self.progress("expire")
        gone = self._fenced().expire(older)
        return Erased(len(older), len(older) - len(gone), evidence={"snapshots": gone})

    def purge(self, subjects: Collection[Subject]) -> Erased:
        """Delete every object that only older layers named; what could be taken back until now, cold copies, old
        versions and unfinished uploads among them. Another sweep that was interrupted is ended first.

        Raises `SweepOvertakenError` where upkeep swept at the same moment, `StoreUnavailableError`.
        """
        table = self._load()
        if table is None or table.current_snapshot() is None:
            return Erased(0, 0)
        require_own_location(self.catalog, table)
        records = self._let_undo_go(table, subjects)
        if interrupted_sweep(table) is not None:
            resume(table, self.progress)
            table = self._reload()
        marked = look(table, held_paths(table, self.now()))
        objects = size = 0
        if marked.objects:
            self.progress("sweep")
            swept = sweep(self._fenced(), table, marked, held_paths(table, self.now()), self.progress)
            objects, size = swept.objects, swept.size_bytes
            if swept.sweep:
                # The fence put a snapshot on top: the one below names nothing that is needed, and no more than it did.
                self._fenced().expire(_older(self._reload()))
        cold = self._clear_cold(self._reload(), subjects)
        versions, uploads = self._clear_leftovers(table)
        evidence = {"objects": objects, "cold": cold, "undo": records, "versions": versions, "uploads": uploads}
        return Erased(objects + len(cold) + versions + uploads, 0, size, evidence)

    def prove(self, subjects: Collection[Subject]) -> Found:
        """Rows of theirs in any object that lies in the table's folders, whoever names it."""
        table = self._load()
        if table is None:
            return Found({})
        store, base = store_of(table), table.location().rstrip("/")
        folders = [f"{base}/data/", *self._cold_folders(table)]
        try:
            there = {each.location for folder in folders for each in store.listed(folder).objects}
        except _FAILURES as error:
            raise StoreUnavailableError(f"{self.name} cannot be listed ({type(error).__name__})") from None
        there |= {live.file.file_path for live in _files(table)}
        parquet = [location for location in sorted(there) if location.endswith(".parquet")]
        found = tokens_in(store, parquet, self.column, by_token(subjects))
        tokens: Counter[str] = sum(found.values(), Counter())
        return Found(_per_request(tokens, subjects), {"objects": sorted(found), "looked_at": len(parquet)})

    def clean_head(self, subjects: Collection[Subject]) -> int | None:
        """The head once neither its rows nor its manifests have anything of them; None where the table has none. What
        is appended behind it may have. Raises as `erase`."""
        for _ in range(ROUNDS):
            self.erase(subjects)
            self.seal(subjects)
            table = self._load()
            if table is None or (head := table.current_snapshot()) is None:
                return None
            if not self._in_head(table, subjects) and not _telling(table):
                return head.snapshot_id
        raise StillChangingError(f"{self.name}: rows of theirs kept coming; run the erasure again")

    def tagged(self) -> dict[str, int]:
        """Tag -> its snapshot."""
        table = self._load()
        refs = table.metadata.refs.items() if table else ()
        return {name: ref.snapshot_id for name, ref in refs if ref.snapshot_ref_type == SnapshotRefType.TAG}

    def tells(self, snapshot_id: int, subjects: Collection[Subject]) -> bool:
        """Whether a snapshot has rows of theirs, or names files that left."""
        table = self._reload()
        head = _head_at(table, snapshot_id)
        return bool(_entries_that_left(head.manifests)) or self._has_them(table, head, subjects)

    def standing(self) -> dict[str, object]:
        """What a verifier holds against the table: its uuid, head, and where its metadata lies."""
        table = self._load()
        if table is None:
            return {}
        head = table.metadata.current_snapshot_id
        return {
            "table": ".".join(self.identifier),
            "uuid": str(table.metadata.table_uuid),
            "location": table.location(),
            "metadata": table.metadata_location,
            "head": head,
            "snapshots": len(table.metadata.snapshots),
        }

    # --- layers

    def _in_head(self, table: Table, subjects: Collection[Subject]) -> dict[str, Counter[str]]:
        locations = [live.file.file_path for live in _files(table)]
        return tokens_in(store_of(table), locations, self.column, by_token(subjects))

    def _require_unpinned(self, table: Table, subjects: Collection[Subject]) -> None:
        for name, ref in table.metadata.refs.items():
            if name == MAIN_BRANCH or ref.snapshot_id == table.metadata.current_snapshot_id:
                continue
            if self._has_them(table, _head_at(table, ref.snapshot_id), subjects):
                raise PinnedError(
                    f"{ref.snapshot_ref_type.value} {name} of {'.'.join(self.identifier)} pins a snapshot with rows of "
                    f"the person, and belongs to no registered model; move or drop it, then run again"
                )

    def _has_them(self, table: Table, head: Head, subjects: Collection[Subject]) -> bool:
        paths = [live.file.file_path for live in live_files(head, store_of(table))]
        return bool(tokens_in(store_of(table), paths, self.column, by_token(subjects)))

    def _let_undo_go(self, table: Table, subjects: Collection[Subject]) -> int:
        """Acts of retention that could bring one of them back cannot be taken back any more; how many."""
        gone, tokens = 0, by_token(subjects)
        named = named_objects(table)
        for location, record in located_records(table).items():
            held = _held(record)
            if tokens_in(store_of(table), held, self.column, tokens):
                self.progress("undo")
                # The record goes last: until then whoever comes after a kill finds what belongs to it.
                free = [at for at in held if object_name(at) not in named]
                self._delete(table, free)
                self._delete(table, [location])
                gone += 1
        return gone

    def _clear_cold(self, table: Table, subjects: Collection[Subject]) -> list[str]:
        """Delete cold files of theirs that the table does not name."""
        store, named = store_of(table), named_objects(table)
        try:
            there = [each.location for folder in self._cold_folders(table) for each in store.listed(folder).objects]
        except _FAILURES as error:
            raise StoreUnavailableError(f"{self.cold} cannot be listed ({type(error).__name__})") from None
        free = [at for at in there if object_name(at) not in named]
        theirs = sorted(tokens_in(store, free, self.column, by_token(subjects)))
        self._delete(table, theirs)
        return theirs

    def _clear_leftovers(self, table: Table) -> tuple[int, int]:
        store, base = store_of(table), table.location().rstrip("/")
        versions = uploads = 0
        try:
            for prefix in (f"{base}/", *self._cold_folders(table)):
                old, begun = store.leftovers(prefix)
                store.clear(old, begun)
                versions, uploads = versions + len(old), uploads + len(begun)
        except _FAILURES as error:
            raise StoreUnavailableError(f"{self.name}: versions cannot be cleared ({type(error).__name__})") from None
        return versions, uploads

    def _cold_folders(self, table: Table) -> list[str]:
        """Where retention puts this very table's cold files."""
        if not self.cold:
            return []
        namespace, name = self.identifier
        return [f"{self.cold}/{namespace}/{name}-{table.metadata.table_uuid.hex[:8]}/"]

    def _delete(self, table: Table, locations: list[str]) -> None:
        try:
            store_of(table).delete_many(locations)
        except _FAILURES as error:
            raise StoreUnavailableError(f"the store did not delete all ({type(error).__name__})") from None

    def _fenced(self) -> FencedTable:
        return FencedTable(self.catalog, self.identifier, writer=self.writer, progress=self.progress)

    def _load(self) -> Table | None:
        try:
            return self.catalog.load_table(self.identifier)
        except NoSuchTableError:
            return None

    def _reload(self) -> Table:
        return self.catalog.load_table(self.identifier)


def _iso(day: int | None) -> str:
    """A partition day as a date; empty where a file says none."""
    return "" if day is None else (EPOCH + timedelta(days=day)).isoformat()


def _files(table: Table) -> list[LiveFile]:
    return live_files(Head(table, manifests_of(table)), store_of(table))


def _older(table: Table) -> list[int]:
    head = table.metadata.current_snapshot_id
    return [each.snapshot_id for each in table.metadata.snapshots if each.snapshot_id != head]


def _telling(table: Table | None) -> int:
    """How many entries of files that left the head's manifests still have."""
    if table is None:
        return 0
    return _entries_that_left(manifests_of(table))


def _entries_that_left(manifests: Iterable[ManifestFile]) -> int:
    data = (manifest for manifest in manifests if manifest.content == ManifestContent.DATA)
    return sum(manifest.deleted_files_count or 0 for manifest in data)


def _head_at(table: Table, snapshot_id: int) -> Head:
    """The table as it was at a snapshot."""
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    return Head(table, tuple(snapshot.manifests(table.io)) if snapshot else ())


def _batches(files: Iterable[LiveFile]) -> Iterable[list[LiveFile]]:
    batch: list[LiveFile] = []
    size = 0
    for live in files:
        if batch and size + live.file.file_size_in_bytes > MOST_BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
        batch.append(live)
        size += live.file.file_size_in_bytes
    if batch:
        yield batch


def _held(record: UndoRecord) -> list[str]:
    return [*(live.file.file_path for live in record.files), *record.copies.values()]


def _per_request(tokens: Counter[str], subjects: Collection[Subject]) -> dict[str, int]:
    return counted(tokens.elements(), subjects)


def _told(each: Object) -> dict[str, object]:
    return {
        "object": each.location,
        "sha256": each.sha256,
        "bytes": each.size_bytes,
        "rows": each.rows,
        "erased_rows": each.theirs,
    }
