"""Snapshots as the committer makes them: manifests, manifest list, summary, and which old ones to let go.

Holds: everything between data files that lie in the store and the request that makes them part of the table.
Does not hold: the decision to commit, retries, or any reading of rows.
"""

from __future__ import annotations

import io as memory
import sys
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, cast

from pyiceberg.catalog import Catalog, MetastoreCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import InputFile, OutputFile, OutputStream
from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.table import Table, TableProperties
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import Operation, Snapshot, SnapshotSummaryCollector, Summary, update_snapshot_summaries
from pyiceberg.table.update import (
    AddSnapshotUpdate,
    AssertRefSnapshotId,
    AssertTableUUID,
    RemoveSnapshotsUpdate,
    SetPropertiesUpdate,
    SetSnapshotRefUpdate,
    TableRequirement,
    TableUpdate,
    ValidatableTableRequirement,
)
from pyiceberg.utils.concurrent import ExecutorFactory

from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.offsets import Vector, VectorMissingError, decode_vector
from warehouse.staging import SWEEP

FORMAT_VERSION = 2
MERGED_MANIFESTS = 50
MERGE_TIERS = (MERGED_MANIFESTS, MERGED_MANIFESTS**2)
"""So many manifests naming fewer files than this are made one; a file's entry is rewritten at most once a tier."""

TORN = (EOFError, ValueError, SystemError, zlib.error)
"""What readers raise for half of a document. Half of an Avro file may also read as a whole one with fewer entries."""

CLUSTERED_FILES = 1_000
"""Entries of a manifest when all are written anew: some 300 KB, read in one request."""

UNASSIGNED = -1

OFFSETS = "wardstream.offsets"
INTERVALS = "wardstream.intervals"
COMMIT_ID = "wardstream.commit-id"
ROWS = "wardstream.rows"
WRITER = "wardstream.writer"
UPKEEP = "wardstream.upkeep"
SOURCES = "wardstream.sources"
TOTAL_FILES = "total-data-files"


class FilesChangedError(Exception):
    """Files that were to be replaced are not all in the table any more: somebody else replaced them first."""


class SweepOvertakenError(Exception):
    """Another sweep put its fence before ours: what ours was about is its to look at."""


class FilesGoneError(Exception):
    """Objects of files that were to come back are swept, or are being swept."""


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A data file of a head and its data sequence number: which commit's rows it holds, also after a rewrite."""

    file: DataFile
    sequence: int

    @property
    def day(self) -> int | None:
        """The partition day (days since 1970 UTC) it lies in; None where the table or the row has none."""
        return _day_of(self.file)


@dataclass(frozen=True, slots=True)
class Leaving:
    """Files that a commit takes out: of these partition days those of `paths`, or all of them."""

    days: frozenset[int | None]
    paths: frozenset[str] | None = None

    def takes(self, file: DataFile) -> bool:
        return _day_of(file) in self.days and (self.paths is None or file.file_path in self.paths)

    def may_be_in(self, manifest: ManifestFile) -> bool:
        return manifest.content == ManifestContent.DATA and any(_may_hold(manifest, day) for day in self.days)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a commit is to change: files to add, our summary keys, and what is to leave.

    `sequence`: the data sequence number of the added files, where their rows are those of older files; None: the
    commit's own. `properties`: of the table, set in the same moment. `clustered`: write all manifests anew, by day.
    """

    summary: Mapping[str, str]
    added: tuple[DataFile, ...] = ()
    leaving: Leaving | None = None
    sequence: int | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    clustered: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """A table as it was seen, with its head's manifests. `remembered`: by an earlier call, not just loaded."""

    table: Table
    manifests: tuple[ManifestFile, ...]
    remembered: bool = False

    @property
    def metadata(self) -> TableMetadata:
        return self.table.metadata

    @property
    def snapshot(self) -> Snapshot | None:
        return self.metadata.current_snapshot()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A snapshot whose manifests lie in the store, ready for the catalog."""

    snapshot: Snapshot
    manifests: tuple[ManifestFile, ...]
    properties: Mapping[str, str] = field(default_factory=dict)


def manifests_of(table: Table) -> tuple[ManifestFile, ...]:
    """The manifests of the table's head. Raises one of `TORN` if they name fewer files than the head says it has: a
    commit made of them would let the others go."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return ()
    manifests = tuple(snapshot.manifests(table.io))
    files = sum(live_count(manifest) for manifest in manifests if manifest.content == ManifestContent.DATA)
    if files < total_files(snapshot):
        raise EOFError(f"{files} of {total_files(snapshot)} data files are named")
    return manifests


def total_files(snapshot: Snapshot) -> int:
    """How many data files a snapshot says it has; 0 where it does not say."""
    return int(_said(snapshot, TOTAL_FILES) or 0)


def live_files(head: Head, io: SinglePutFileIO) -> list[LiveFile]:
    """Every data file of the head. Raises `StoreUnavailableError` where a manifest came incomplete."""
    reads = ExecutorFactory.get_or_create().map(lambda m: entries_of(m, io), head.manifests)
    return [LiveFile(entry.data_file, entry.sequence_number or 0) for read in reads for entry in read]


def vector_of(metadata: TableMetadata) -> Vector:
    """The vector of the first ancestor of the head that has one; empty for a table that never had a snapshot.

    Raises `VectorMissingError` where there are snapshots and none of the head's line says a vector.
    """
    if metadata.current_snapshot() is None and not metadata.snapshots:
        return {}
    text = said_in_line(metadata, OFFSETS)
    if text is None:
        raise VectorMissingError(
            f"table at {metadata.location} has snapshots and no offset vector in the line of its head: another writer "
            f"committed without it. Roll the table back to a snapshot with one, or set it by hand; it is never guessed"
        )
    return decode_vector(text)


def said_in_line(metadata: TableMetadata, key: str) -> str | None:
    """What the newest snapshot of the head's line that has this key says under it; None where none does."""
    return next((value for snapshot in line_of(metadata) if (value := _said(snapshot, key))), None)


def line_of(metadata: TableMetadata) -> Iterator[Snapshot]:
    """The head and its ancestors, newest first, as far as the metadata still has them."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        yield snapshot
        snapshot = by_id.get(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id is not None else None


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Manifests that an attempt wrote in the place of others. They bear the id of its snapshot.

    `sweep`: the table's when they were written. Until they are in the table they are named by nothing, so a sweep that
    put its fence since may delete them: they serve no attempt behind it (decision 17).
    """

    sources: frozenset[str]
    leaving: Leaving | None
    schema_id: int
    sweep: str | None
    manifests: tuple[ManifestFile, ...]
    snapshot_id: int


@dataclass(slots=True)
class Earlier:
    """What earlier attempts of one change read and wrote. A change to manifests of thousands of files that began anew
    each time would be overtaken each time by whoever commits a few.

    Attributes:
        entries: live entries of manifests by location; a manifest never changes.
        rewritten: what the last attempt wrote, to be named by the next under the same snapshot id. None unless that
            attempt is not in the table for certain: two snapshots of one id must not be under way at once.
    """

    entries: dict[str, list[ManifestEntry]] = field(default_factory=dict)
    rewritten: Rewritten | None = None


def prepare(head: Head, draft: Draft, io: SinglePutFileIO, now_ms: int, earlier: Earlier | None = None) -> Prepared:
    """Write manifest and manifest list of a snapshot on this head: one PUT each. Raises OSError if the store refuses,
    `FilesChangedError` if a file that is to leave by name is not there.

    `now_ms`: milliseconds since 1970 UTC. A table's time never runs backwards, whatever the clock does: other engines
    refuse metadata whose snapshots do. `earlier`: what attempts before read and wrote; this one's is added.
    """
    metadata = head.metadata
    writing = _Writing(head, io, metadata.new_snapshot_id(), Earlier() if earlier is None else earlier)
    kept, removed = writing.without(draft.leaving)
    manifests = writing.clustered(kept) if draft.clustered else writing.merged(kept)
    manifests = [*writing.manifest_of(draft.added, draft.sequence), *manifests]
    sequence = metadata.next_sequence_number()
    snapshot = Snapshot(
        snapshot_id=writing.snapshot_id,
        parent_snapshot_id=metadata.current_snapshot_id,
        sequence_number=sequence,
        timestamp_ms=max(now_ms, metadata.last_updated_ms),
        manifest_list=writing.list_of(manifests, sequence),
        summary=_summary(head, draft, removed),
        schema_id=metadata.current_schema_id,
    )
    return Prepared(snapshot, tuple(_numbered(manifest, sequence) for manifest in manifests), draft.properties)


def swap_request(
    catalog: Catalog, metadata: TableMetadata, prepared: Prepared, keep: int
) -> tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]:
    """Requirements and updates of the commit: same table, same head; at most `keep` snapshots afterwards."""
    snapshot = prepared.snapshot
    requirements: list[TableRequirement] = [
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=snapshot.parent_snapshot_id),
    ]
    updates: list[TableUpdate] = [
        AddSnapshotUpdate(snapshot=snapshot),
        SetSnapshotRefUpdate(ref_name=MAIN_BRANCH, type=SnapshotRefType.BRANCH, snapshot_id=snapshot.snapshot_id),
    ]
    if prepared.properties:
        updates.append(SetPropertiesUpdate(updates=dict(prepared.properties)))
    if dropped := superseded(metadata, keep - 1):
        requirements += _same_refs(catalog, metadata)
        updates.append(RemoveSnapshotsUpdate(snapshot_ids=dropped))
    return tuple(requirements), tuple(updates)


def expiry_request(
    catalog: Catalog, metadata: TableMetadata, snapshot_ids: list[int]
) -> tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]:
    """Requirements and updates that let snapshots go and do nothing else."""
    requirements: list[TableRequirement] = [
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertRefSnapshotId(ref=MAIN_BRANCH, snapshot_id=metadata.current_snapshot_id),
        *_same_refs(catalog, metadata),
    ]
    return tuple(requirements), (RemoveSnapshotsUpdate(snapshot_ids=snapshot_ids),)


def superseded(metadata: TableMetadata, keep: int) -> list[int]:
    """Ids of the oldest snapshots beyond `keep`; never one that a branch or tag names, nor one whose vector a kept
    snapshot relies on. Their files stay: removing those is upkeep's, after the longest query."""
    by_age = sorted(metadata.snapshots, key=lambda s: s.sequence_number or 0)
    named = _named(metadata)
    candidates = [s.snapshot_id for s in by_age if s.snapshot_id not in named]
    return expirable(metadata, candidates[: max(0, len(by_age) - keep)])


def expirable(metadata: TableMetadata, snapshot_ids: Iterable[int]) -> list[int]:
    """Those of the snapshots, oldest first, that are there and that neither a branch, a tag nor a kept snapshot's
    vector needs."""
    by_age = sorted(metadata.snapshots, key=lambda s: s.sequence_number or 0)
    leaving = set(snapshot_ids) - _named(metadata)
    leaving -= _vectors_relied_on([s for s in by_age if s.snapshot_id not in leaving], by_age)
    return [s.snapshot_id for s in by_age if s.snapshot_id in leaving]


def _named(metadata: TableMetadata) -> set[int]:
    return {ref.snapshot_id for ref in metadata.refs.values()}


class AssertSameRefs(ValidatableTableRequirement):
    """Branches and tags are those we saw: letting snapshots go must not take a tag that came in between along.

    Checked by catalogs that pyiceberg itself applies updates for; it is never sent anywhere.
    """

    type: str = "assert-same-refs"
    refs: dict[str, SnapshotRef]

    def validate(self, base_metadata: TableMetadata | None) -> None:
        if base_metadata is None or base_metadata.refs != self.refs:
            raise CommitFailedException("Requirement failed: branches or tags have changed")


class _Writing:
    """The writing of one snapshot: names, format and the store."""

    def __init__(self, head: Head, io: SinglePutFileIO, snapshot_id: int, earlier: Earlier) -> None:
        self._table, self._manifests, self._io, self._earlier = head.table, head.manifests, io, earlier
        self._name = uuid.uuid4()
        self._written = 0
        self.snapshot_id = snapshot_id

    def manifest_of(self, files: tuple[DataFile, ...], sequence: int | None) -> list[ManifestFile]:
        """A manifest that adds the files; none for none."""
        if not files:
            return []
        entries = [_entry(self.snapshot_id, file, sequence) for file in files]
        return [self._manifest(self._table.metadata.default_spec_id, added=entries)]

    def without(self, leaving: Leaving | None) -> tuple[list[ManifestFile], list[DataFile]]:
        """The head's manifests with the leaving files taken out, those that lost one written as one; and the files."""
        if leaving is None:
            return list(self._manifests), []
        kept: list[ManifestFile] = []
        touched: list[ManifestFile] = []
        staying: list[ManifestEntry] = []
        gone: list[ManifestEntry] = []
        for manifest, entries in self._with_entries(leaving):
            taken = [entry for entry in entries if leaving.takes(entry.data_file)]
            if not taken:
                kept.append(manifest)
                continue
            touched.append(manifest)
            gone += taken
            staying += [entry for entry in entries if not leaving.takes(entry.data_file)]
        if leaving.paths is not None and len(gone) != len(leaving.paths):
            raise FilesChangedError(f"{len(leaving.paths) - len(gone)} of {len(leaving.paths)} files left meanwhile")
        if gone:
            spec_id = self._table.metadata.default_spec_id
            kept += self._in_place_of(
                touched, leaving, lambda: [self._manifest(spec_id, existing=staying, deleted=gone)]
            )
        return kept, [entry.data_file for entry in gone]

    def _in_place_of(
        self, sources: Iterable[ManifestFile], leaving: Leaving | None, write: Callable[[], list[ManifestFile]]
    ) -> list[ManifestFile]:
        """What an earlier attempt wrote in the place of the same manifests, or else what is written now."""
        schema_id, sweep = self._table.metadata.current_schema_id, self._table.properties.get(SWEEP)
        wanted = frozenset(each.manifest_path for each in sources), leaving, schema_id, sweep
        before = self._earlier.rewritten
        if before is not None and (before.sources, before.leaving, before.schema_id, before.sweep) == wanted:
            self.snapshot_id = before.snapshot_id
        else:
            before = self._earlier.rewritten = Rewritten(*wanted, tuple(write()), self.snapshot_id)
        # Deep copies: whoever names a manifest writes its sequence number into it, pyiceberg into a shallow one too.
        return [deepcopy(manifest) for manifest in before.manifests]

    def merged(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """The manifests, many small ones written as one: a list that grew by one each commit would soon cost more than
        the commit."""
        for size in MERGE_TIERS:
            small = [manifest for manifest in manifests if self._mergeable(manifest, size)]
            if len(small) >= MERGED_MANIFESTS:
                reads = ExecutorFactory.get_or_create().map(self._entries, small)
                entries = [entry for read in reads for entry in read]
                spec_id = self._table.metadata.default_spec_id
                one = [self._manifest(spec_id, existing=entries)] if entries else []
                manifests = [*one, *(manifest for manifest in manifests if manifest not in small)]
        return manifests

    def clustered(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        """Entries of data files by day, in manifests of at most `CLUSTERED_FILES`; manifests that are as large already,
        and those of other kinds or specs, as they are. None says any more what left."""
        spec_id = self._table.metadata.default_spec_id
        ours = [
            manifest
            for manifest in manifests
            if self._mergeable(manifest, sys.maxsize if manifest.deleted_files_count else CLUSTERED_FILES)
        ]
        before = self._earlier.rewritten
        if before is not None and before.sources <= {manifest.manifest_path for manifest in ours}:
            # What came since waits for the next time: else each attempt would begin anew.
            ours = [manifest for manifest in ours if manifest.manifest_path in before.sources]
        written = self._in_place_of(ours, None, lambda: self._by_day(ours, spec_id))
        return [*(manifest for manifest in manifests if manifest not in ours), *written]

    def _by_day(self, ours: list[ManifestFile], spec_id: int) -> list[ManifestFile]:
        reads = ExecutorFactory.get_or_create().map(self._entries, ours)
        entries = sorted((entry for read in reads for entry in read), key=lambda e: _day_of(e.data_file) or 0)
        pieces = [entries[start : start + CLUSTERED_FILES] for start in range(0, len(entries), CLUSTERED_FILES)]
        return [self._manifest(spec_id, existing=piece) for piece in pieces]

    def _mergeable(self, manifest: ManifestFile, size: int) -> bool:
        """A data manifest of the current spec with fewer than `size` files, written before this snapshot."""
        return (
            manifest.content == ManifestContent.DATA
            and manifest.partition_spec_id == self._table.metadata.default_spec_id
            and manifest.added_snapshot_id != self.snapshot_id
            and live_count(manifest) < size
        )

    def list_of(self, manifests: list[ManifestFile], sequence: int) -> str:
        """Write the manifest list; its location."""
        location = self._location(f"snap-{self.snapshot_id}-0-{self._name}.avro")
        output = _InMemory(location)
        with write_manifest_list(
            FORMAT_VERSION,
            output,
            self.snapshot_id,
            self._table.metadata.current_snapshot_id,
            sequence,
            self._compression(),
        ) as writer:
            writer.add_manifests(manifests)
        self._io.put(location, output.data)
        return location

    def _with_entries(self, leaving: Leaving) -> Iterator[tuple[ManifestFile, list[ManifestEntry]]]:
        """Each manifest with its live entries, none where no leaving file can be."""
        concerned = [manifest for manifest in self._manifests if leaving.may_be_in(manifest)]
        for manifest in concerned:
            if manifest.partition_spec_id != self._table.metadata.default_spec_id:
                raise ValueError(f"manifest {manifest.manifest_path} was written under another partition spec")
        reads = ExecutorFactory.get_or_create().map(self._entries, concerned)
        read = {manifest.manifest_path: entries for manifest, entries in zip(concerned, reads, strict=True)}
        yield from ((manifest, read.get(manifest.manifest_path, [])) for manifest in self._manifests)

    def _entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        known = self._earlier.entries
        if manifest.manifest_path not in known:
            known[manifest.manifest_path] = entries_of(manifest, self._io)
        return known[manifest.manifest_path]

    def _manifest(self, spec_id: int, **entries: list[ManifestEntry]) -> ManifestFile:
        output = _InMemory(self._location(f"{self._name}-m{self._written}.avro"))
        self._written += 1
        table = self._table
        with write_manifest(
            FORMAT_VERSION, table.specs()[spec_id], table.schema(), output, self.snapshot_id, self._compression()
        ) as writer:
            _write_entries(writer, **entries)
        self._io.put(output.location, output.data)
        return writer.to_manifest_file()

    def _location(self, name: str) -> str:
        return self._table.location_provider().new_metadata_location(name)

    def _compression(self) -> Any:
        key, default = TableProperties.WRITE_AVRO_COMPRESSION, TableProperties.WRITE_AVRO_COMPRESSION_DEFAULT
        return self._table.properties.get(key, default)


class _InMemory(OutputFile):
    """A file whose bytes are kept: `data` after it was closed."""

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self.data = b""

    def __len__(self) -> int:
        return len(self.data)

    def exists(self) -> bool:
        return False

    def to_input_file(self) -> InputFile:
        raise NotImplementedError

    def create(self, overwrite: bool = False) -> OutputStream:
        return cast(OutputStream, _KeptBytes(self))


class _KeptBytes(memory.BytesIO):
    def __init__(self, file: _InMemory) -> None:
        super().__init__()
        self._file = file

    def close(self) -> None:
        if not self.closed:
            self._file.data = self.getvalue()
        super().close()


def _write_entries(
    writer: ManifestWriter,
    added: Iterable[ManifestEntry] = (),
    existing: Iterable[ManifestEntry] = (),
    deleted: Iterable[ManifestEntry] = (),
) -> None:
    for entry in added:
        writer.add(entry)
    for entry in existing:
        writer.existing(entry)
    for entry in deleted:
        writer.delete(entry)


def live_count(manifest: ManifestFile) -> int:
    """How many live files a manifest says it names."""
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def entries_of(manifest: ManifestFile, io: SinglePutFileIO) -> list[ManifestEntry]:
    """The live entries of a manifest, all of them. Raises `StoreUnavailableError` if fewer came than it has."""
    try:
        entries = manifest.fetch_manifest_entry(io)
    except TORN as error:
        raise StoreUnavailableError(f"manifest {manifest.manifest_path} came incomplete") from error
    if len(entries) < live_count(manifest):
        raise StoreUnavailableError(
            f"manifest {manifest.manifest_path} came with {len(entries)} of {live_count(manifest)} entries"
        )
    return entries


def _entry(snapshot_id: int, file: DataFile, sequence: int | None) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot_id,
        sequence_number=sequence,
        file_sequence_number=None,
        data_file=file,
    )


def _day_of(file: DataFile) -> int | None:
    return file.partition[0] if len(file.partition) else None


def _may_hold(manifest: ManifestFile, day: int | None) -> bool:
    if not manifest.partitions:
        return True
    if day is None:
        return manifest.partitions[0].contains_null
    lower, upper = manifest.partitions[0].lower_bound, manifest.partitions[0].upper_bound
    if lower is None or upper is None:
        return False
    return int.from_bytes(lower, "little", signed=True) <= day <= int.from_bytes(upper, "little", signed=True)


def _numbered(manifest: ManifestFile, sequence: int) -> ManifestFile:
    """The manifest as the next manifest list must name it: with the sequence number that its commit gave it."""
    if manifest.sequence_number == UNASSIGNED:
        manifest.sequence_number = sequence
    if manifest.min_sequence_number == UNASSIGNED:
        manifest.min_sequence_number = sequence
    return manifest


def _summary(head: Head, draft: Draft, removed: list[DataFile]) -> Summary:
    table = head.table
    collector = SnapshotSummaryCollector(partition_summary_limit=0)
    for file in draft.added:
        collector.add_file(file, table.schema(), table.spec())
    for file in removed:
        collector.remove_file(file, table.schema(), table.spec())
    operation = Operation.APPEND if draft.leaving is None else Operation.OVERWRITE
    return update_snapshot_summaries(
        Summary(operation=operation, **collector.build(), **draft.summary),
        previous_summary=head.snapshot.summary if head.snapshot else None,
    )


def _said(snapshot: Snapshot, key: str) -> str | None:
    # `is not None`: a summary is a mapping, and asking for its truth counts its keys.
    return snapshot.summary.additional_properties.get(key) if snapshot.summary is not None else None


def _vectors_relied_on(kept: list[Snapshot], snapshots: list[Snapshot]) -> set[int]:
    """Snapshots that a kept one without a vector finds its vector in, and those on the way there: without one of them
    the line would end before it."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in snapshots}
    return {id_ for snapshot in kept for id_ in _way_to_vector(snapshot, by_id)}


def _way_to_vector(snapshot: Snapshot, by_id: Mapping[int, Snapshot]) -> list[int]:
    """Ids of the ancestors up to the first that says a vector; none where none does, or where it does so itself."""
    way: list[int] = []
    at: Snapshot | None = snapshot
    while at is not None and not _said(at, OFFSETS):
        at = by_id.get(at.parent_snapshot_id or UNASSIGNED)
        way += [] if at is None else [at.snapshot_id]
    return [] if at is None else way


def _same_refs(catalog: Catalog, metadata: TableMetadata) -> list[TableRequirement]:
    """A REST catalog can only be asked about the refs we know of: a tag made in this very moment on a snapshot that is
    let go in the same moment may be lost there."""
    if isinstance(catalog, MetastoreCatalog):
        return [cast(TableRequirement, AssertSameRefs(refs=metadata.refs))]
    others = ((name, ref) for name, ref in metadata.refs.items() if name != MAIN_BRANCH)
    return [AssertRefSnapshotId(ref=name, snapshot_id=ref.snapshot_id) for name, ref in others]
