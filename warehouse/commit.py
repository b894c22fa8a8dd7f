"""The fence: each source position enters a table once, whatever was retried, killed or answered late.

Holds: the committer of a table. Every snapshot it makes carries the table's whole offset vector in its summary; an
interval is placed against the vector of the very head that the commit requires unchanged; an outcome that is not known
is looked up in the table, and nothing is ever deleted because of it.
Does not hold: the arithmetic (offsets.py), files (staging.py), snapshots (snapshots.py), or when a commit is due.

pyiceberg supplies formats, requirements and the catalog's compare-and-swap. Its own append is not used: it retries by
moving a stale append onto a new head, and it deletes the manifests of a commit that may have landed.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, RESTError
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.offsets import (
    GapError,
    Interval,
    OffsetsError,
    PartitionAddedError,
    Placement,
    Vector,
    VectorMissingError,
    advanced,
    commit_id,
    decode_vector,
    encode_intervals,
    encode_vector,
    joined,
    place,
    started,
)
from warehouse.row_positions import RowsError, check_positions, rows_from
from warehouse.snapshots import (
    COMMIT_ID,
    INTERVALS,
    OFFSETS,
    ROWS,
    SOURCES,
    TORN,
    WRITER,
    Draft,
    FilesChangedError,
    Head,
    Leaving,
    LiveFile,
    Prepared,
    line_of,
    live_files,
    manifests_of,
    prepare,
    said_in_line,
    swap_request,
    vector_of,
)
from warehouse.staging import StagedFiles, day_number, stage

__all__ = [
    "CommitReceipt",
    "FencedTable",
    "FilesChangedError",
    "GapError",
    "OutcomeUnknownError",
    "PartitionAddedError",
    "RowsError",
    "StoreUnavailableError",
    "TableChangedError",
    "VectorMissingError",
]

KEPT_SNAPSHOTS = 50
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
SWEPT_FILES = 20
TRANSIENT = (OSError, SQLAlchemyError, RESTError, RequestException)
"""What store and catalog raise when they are down or slow. Anything else that comes twice is a bug."""


class TableChangedError(Exception):
    """The table is not the one this committer began with: dropped, or replaced by another of its name."""


class OutcomeUnknownError(Exception):
    """Whether a commit without positions landed cannot be told: the snapshots that would show it are gone."""


LASTING = (OffsetsError, RowsError, TableChangedError, OutcomeUnknownError, FilesChangedError)
"""What waiting does not cure."""


class _StaleHead(Exception):
    """A verdict other than "append all of it" was reached on a remembered head: it needs a fresh one."""


@dataclass(frozen=True, slots=True)
class CommitReceipt:
    """What became of one commit.

    Attributes:
        snapshot_id: the snapshot made by this call, None if everything was in the table already.
        rows: rows that this call added.
        attempts: requests for the swap that were sent (0 if none was needed).
        dropped: intervals that were in already. trimmed: what was missing of those that were in partly.
        vector: the table's vector after the commit.
    """

    snapshot_id: int | None
    rows: int
    attempts: int
    dropped: tuple[Interval, ...] = ()
    trimmed: tuple[Interval, ...] = ()
    vector: Vector = field(default_factory=dict)


class FencedTable:
    """The one writer of a table in this process. Its methods may be called from one thread at a time.

    Args:
        catalog: from `open_catalog`. identifier: (namespace, name).
        writer: who commits, for the summary: host, process, whatever tells two writers apart. No personal data.
        clock: the time, aware; only for the snapshot's timestamp.
        stop: set by the caller to end waiting for store or catalog. patience_seconds: waiting ends anyway after so
            much of it, the time that failing requests took aside. In both cases `StoreUnavailableError` is raised, and
            the same call may be made again later by anybody.
        progress: told each step as it begins (`load`, `stage`, `manifest`, `swap`, `landed`, `wait`): for health pages
            and for crash tests.
        kept_snapshots: how many the table has at most after a commit, those that branches and tags name aside.
    """

    def __init__(
        self,
        catalog: Catalog,
        identifier: tuple[str, str],
        *,
        writer: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        stop: threading.Event | None = None,
        patience_seconds: float = 60.0,
        progress: Callable[[str], None] = lambda step: None,
        kept_snapshots: int = KEPT_SNAPSHOTS,
    ) -> None:
        self._writer = writer
        self._session = _Session(catalog, identifier, clock, progress, kept_snapshots)
        self._patience = _Patience(stop or threading.Event(), patience_seconds, progress)

    @property
    def name(self) -> str:
        """`namespace.table`."""
        return self._session.name

    def vector(self) -> Vector:
        """The vector of the table as it is now; empty for a table without snapshots.

        Raises `VectorMissingError`, `TableChangedError`, `StoreUnavailableError`.
        """
        waiting = self._patience.begin(self.name)
        while True:
            try:
                return vector_of(self._session.load().metadata)
            except (*TRANSIENT, StoreUnavailableError) as error:
                waiting.wait(error)

    def establish(self, topic_id: str, low_watermarks: Mapping[int, int]) -> Vector:
        """Record where the table's reading of a topic starts, naming all its partitions; the vector afterwards.

        Does nothing if a start is recorded. Raises `PartitionAddedError` if the topic's partitions are not those of
        the record, `GapError` if the log now begins above what was read, `VectorMissingError` if the table has a
        history without a vector, `TableChangedError`, `StoreUnavailableError`.
        """

        def plan(head: Head) -> Draft | None:
            if head.remembered:
                raise _StaleHead
            vector = started(vector_of(head.metadata), topic_id, low_watermarks)
            if vector is None:
                return None
            return Draft({OFFSETS: encode_vector(vector), ROWS: "0", WRITER: self._writer})

        return vector_of(self._land(plan).head.metadata)

    def commit(self, rows: pa.Table, intervals: Iterable[Interval]) -> CommitReceipt:
        """Make the rows and the positions they come from part of the table, unless they are.

        `intervals` name every position that is hereby accounted for, with or without a row; together with `rows` they
        may be offered any number of times. `rows` carry the position columns and may be empty. Raises `GapError`,
        `VectorMissingError`, `PartitionAddedError` (nothing was written), `RowsError` (rows outside the intervals),
        `TableChangedError`, and `StoreUnavailableError` after which the outcome may be unknown: offer the same again.
        """
        offered = joined(intervals)
        if not offered:
            raise ValueError(f"table {self.name}: a commit needs at least one interval")
        check_positions(rows, offered)
        ingest = _Ingest(self._session, self._writer, rows, offered)
        landing = self._land(ingest.plan)
        placements = ingest.placements_of(landing.draft)
        return CommitReceipt(
            snapshot_id=landing.snapshot_id,
            rows=landing.rows,
            attempts=landing.attempts,
            dropped=tuple(p.interval for p in placements if p.verdict == "drop"),
            trimmed=tuple(p.remainder for p in placements if p.verdict == "trim" and p.remainder),
            vector=vector_of(landing.head.metadata),
        )

    def append_derived(
        self, rows: pa.Table, sources: Mapping[str, int], replace_day: date | None = None
    ) -> CommitReceipt:
        """Append rows computed from other tables, or put them in place of one partition day, in one atomic commit.

        `sources` maps table uuid -> snapshot id that was read. With `replace_day` all rows must lie in that day, and
        repeating the call is harmless. A vector the table has is carried along. Raises `OutcomeUnknownError` when an
        append without `replace_day` may have landed and the history that would tell is gone, `TableChangedError`,
        `StoreUnavailableError`, `ValueError` for rows of another day.
        """
        derived = _Derived(self._session, self._writer, rows, sources, replace_day)
        landing = self._land(derived.plan, needs_history=replace_day is None)
        text = said_in_line(landing.head.metadata, OFFSETS)
        return CommitReceipt(
            landing.snapshot_id, landing.rows, landing.attempts, vector=decode_vector(text) if text else {}
        )

    def replace_files(
        self, removed: Iterable[LiveFile], added: StagedFiles, said: Mapping[str, str], fewer_rows: int = 0
    ) -> CommitReceipt:
        """Put staged files in the place of others of this table, in one atomic commit beside whatever else is written.

        The new files keep the data sequence number of the newest old one: their rows are not news to whoever reads what
        changed. `said`: summary keys that tell what this is. `fewer_rows`: how many rows are meant to go; nothing is
        written unless exactly so many do. Raises `FilesChangedError` where one of the files left meanwhile or the
        schema changed (plan again), `ValueError` for rows that do not add up, `TableChangedError`,
        `StoreUnavailableError`. A vector and the sources the table has are carried along.
        """
        removed = list(removed)
        if not removed:
            raise ValueError(f"table {self.name}: no file to replace")
        gone = sum(file.file.record_count for file in removed) - added.rows
        if gone != fewer_rows:
            raise ValueError(f"table {self.name}: {gone} rows would go, {fewer_rows} are meant to")
        landing = self._land(_Rewrite(self._writer, removed, added, said).plan)
        text = said_in_line(landing.head.metadata, OFFSETS)
        return CommitReceipt(
            landing.snapshot_id, landing.rows, landing.attempts, vector=decode_vector(text) if text else {}
        )

    def restore_files(self, files: Iterable[LiveFile], said: Mapping[str, str]) -> CommitReceipt:
        """Put files that this table once had back into it, unless they are in it; their objects must still exist.

        They keep the data sequence number of the newest of them. Raises `TableChangedError`, `StoreUnavailableError`.
        """
        landing = self._land(_Restoring(self._writer, list(files), said).plan)
        text = said_in_line(landing.head.metadata, OFFSETS)
        return CommitReceipt(
            landing.snapshot_id, landing.rows, landing.attempts, vector=decode_vector(text) if text else {}
        )

    def _land(self, plan: Callable[[Head], Draft | None], needs_history: bool = False) -> _Landing:
        landing = _Landing(self._session, plan, needs_history)
        landing.run(self._patience.begin(self.name))
        return landing


class _Session:
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
        self._uuid: uuid.UUID | None = None
        self._unlogged: list[str] = []

    @property
    def name(self) -> str:
        return ".".join(self._identifier)

    def head(self) -> Head:
        """The head as an earlier call left it, remembered; or else a fresh one."""
        return replace(self._head, remembered=True) if self._head else self.load()

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
        return stage(table, rows, _store_of(table))

    def prepare(self, head: Head, draft: Draft) -> Prepared:
        """Put the snapshot's manifests into the store."""
        self._progress("manifest")
        now_ms = int(self._clock().timestamp() * 1000)
        return prepare(head, draft, _store_of(head.table), now_ms)

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

    def _sweep(self, table: Table, before: TableMetadata) -> None:
        """Delete metadata files that fell out of the table's bounded log, many at once. The catalog leaves them to us;
        no snapshot and no reader of the last twenty versions needs them."""
        logged = {entry.metadata_file for entry in table.metadata.metadata_log}
        self._unlogged += [e.metadata_file for e in before.metadata_log if e.metadata_file not in logged]
        if len(self._unlogged) >= SWEPT_FILES:
            with suppress(*TRANSIENT, BotoCoreError, ClientError):
                _store_of(table).delete_many(self._unlogged)
            self._unlogged = []


class _Landing:
    """One change on its way into a table: plan it on a head, prepare, swap; again until it is known to be in."""

    def __init__(self, session: _Session, plan: Callable[[Head], Draft | None], needs_history: bool) -> None:
        self._session, self._plan, self._needs_history = session, plan, needs_history
        self._sent: dict[int, tuple[int | None, Draft]] = {}
        self._faults = 0
        self.attempts = 0
        self.draft: Draft | None = None
        self.snapshot_id: int | None = None
        self.head: Head

    @property
    def rows(self) -> int:
        """Rows that landed by this change."""
        return sum(file.record_count for file in self.draft.added) if self.draft else 0

    def run(self, waiting: _Waiting) -> None:
        """Return when the change is in the table, or nothing of it is missing there."""
        while True:
            try:
                return self._try_once()
            except (_StaleHead, CommitFailedException):
                # Another commit came first, so ours is not in, for certain: look again, with the same files.
                self._session.forget()
            except LASTING:
                raise
            except Exception as error:
                self._session.forget()
                self._raise_if_a_bug(error)
                waiting.wait(error)

    def _try_once(self) -> None:
        self.head = self._session.head()
        if self._found_in(self.head):
            return
        draft = self._plan(self.head)
        if draft is None:
            return
        prepared = self._session.prepare(self.head, draft)
        self._sent[prepared.snapshot.snapshot_id] = (prepared.snapshot.parent_snapshot_id, draft)
        self.attempts += 1
        self.head = self._session.swap(self.head, prepared)
        self.draft, self.snapshot_id = draft, prepared.snapshot.snapshot_id

    def _found_in(self, head: Head) -> bool:
        """Whether an attempt whose answer we did not get is in the table after all."""
        line = list(line_of(head.metadata)) if self._sent else []
        for snapshot in line:
            if snapshot.snapshot_id in self._sent:
                self.draft, self.snapshot_id = self._sent[snapshot.snapshot_id][1], snapshot.snapshot_id
                return True
        if self._needs_history and not all(_tells(line, parent) for parent, _ in self._sent.values()):
            raise OutcomeUnknownError(
                f"table {self._session.name}: an append may have landed, and the snapshots that would tell were let "
                f"go meanwhile; compare the rows before it is repeated"
            )
        return False

    def _raise_if_a_bug(self, error: Exception) -> None:
        if not isinstance(error, (*TRANSIENT, StoreUnavailableError)):
            self._faults += 1
            if self._faults > 1:
                raise error


class _Ingest:
    """Rows and intervals placed on a head: what of them is missing there, staged once for each remainder."""

    def __init__(self, session: _Session, writer: str, rows: pa.Table, offered: list[Interval]) -> None:
        self._session, self._writer, self._rows, self._offered = session, writer, rows, offered
        self._staged: tuple[list[Interval], StagedFiles] | None = None
        self._placements: dict[str, list[Placement]] = {}

    def plan(self, head: Head) -> Draft | None:
        """The append that the head still lacks, or None."""
        placements = self._placed_on(head)
        missing = [remainder for p in placements if (remainder := p.remainder)]
        if not missing:
            return None
        files = self._files(head.table, missing)
        identity = commit_id(missing)
        self._placements[identity] = placements
        return Draft(
            added=files.files,
            summary={
                OFFSETS: encode_vector(advanced(vector_of(head.metadata), missing)),
                INTERVALS: encode_intervals(missing),
                COMMIT_ID: identity,
                ROWS: str(files.rows),
                WRITER: self._writer,
            },
        )

    def placements_of(self, draft: Draft | None) -> list[Placement]:
        """How the intervals stood when this draft was made; without one all of them were in."""
        if draft is None:
            return [Placement(interval, "drop", interval.end) for interval in self._offered]
        return self._placements[draft.summary[COMMIT_ID]]

    def _placed_on(self, head: Head) -> list[Placement]:
        """Any verdict but "all of it" must come from the table as it is now, not as we remember it."""
        try:
            placements = place(vector_of(head.metadata), self._offered)
        except OffsetsError:
            if head.remembered:
                raise _StaleHead from None
            raise
        if head.remembered and any(p.verdict != "accept" for p in placements):
            raise _StaleHead
        return placements

    def _files(self, table: Table, missing: list[Interval]) -> StagedFiles:
        if self._staged and self._staged[0] == missing and self._staged[1].fits(table):
            return self._staged[1]
        starts = {(i.topic_id, i.partition): i.start for i in reversed(missing)}
        rows = self._rows if missing == self._offered else rows_from(self._rows, starts)
        self._staged = (missing, self._session.stage(table, rows))
        return self._staged[1]


class _Derived:
    """Rows computed from other tables, appended or put in the place of a day."""

    def __init__(
        self, session: _Session, writer: str, rows: pa.Table, sources: Mapping[str, int], replace_day: date | None
    ) -> None:
        self._session, self._rows = session, rows
        self._day = None if replace_day is None else day_number(replace_day)
        self._said = {SOURCES: json.dumps(dict(sources), sort_keys=True), ROWS: str(rows.num_rows), WRITER: writer}
        self._staged: StagedFiles | None = None

    def plan(self, head: Head) -> Draft | None:
        """The change as it is to be made on this head."""
        if self._day is not None and not head.table.spec().fields:
            raise ValueError(f"table {self._session.name} has no days to replace: it is not partitioned")
        if self._staged is None or not self._staged.fits(head.table):
            self._staged = self._session.stage(head.table, self._rows)
        if self._day is not None and any(file.partition[0] != self._day for file in self._staged.files):
            raise ValueError(f"table {self._session.name}: rows of another day than the one they are to replace")
        text = said_in_line(head.metadata, OFFSETS)
        leaving = None if self._day is None else Leaving(frozenset({self._day}))
        return Draft({**self._said, **({OFFSETS: text} if text else {})}, self._staged.files, leaving)


class _Rewrite:
    """Files in the place of others, what the head says of its sources carried along."""

    def __init__(self, writer: str, removed: list[LiveFile], added: StagedFiles, said: Mapping[str, str]) -> None:
        self._added = added
        self._leaving = Leaving(frozenset(f.day for f in removed), frozenset(f.file.file_path for f in removed))
        self._sequence = max(file.sequence for file in removed)
        self._said = {**said, ROWS: str(added.rows), WRITER: writer}

    def plan(self, head: Head) -> Draft:
        """The replacement as it is to be made on this head."""
        if not self._added.fits(head.table):
            raise FilesChangedError(f"table {'.'.join(head.table.name())} got another schema meanwhile")
        return Draft({**self._said, **_carried(head)}, self._added.files, self._leaving, self._sequence)


class _Restoring:
    """Files that left, coming back as they were."""

    def __init__(self, writer: str, files: list[LiveFile], said: Mapping[str, str]) -> None:
        self._files, self._said = files, {**said, WRITER: writer}

    def plan(self, head: Head) -> Draft | None:
        """The files that this head lacks; None where it lacks none."""
        if head.remembered:
            raise _StaleHead
        there = {live.file.file_path for live in live_files(head, _store_of(head.table))}
        missing = [live for live in self._files if live.file.file_path not in there]
        if not missing:
            return None
        rows = sum(live.file.record_count for live in missing)
        said = {**self._said, ROWS: str(rows), **_carried(head)}
        return Draft(said, tuple(live.file for live in missing), sequence=max(live.sequence for live in missing))


def _carried(head: Head) -> dict[str, str]:
    """What a commit that brings nothing new says of where the table's rows come from: what was said before it."""
    return {key: text for key in (OFFSETS, SOURCES) if (text := said_in_line(head.metadata, key))}


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long a caller wants to wait for store and catalog."""

    stop: threading.Event
    seconds: float
    progress: Callable[[str], None]

    def begin(self, name: str) -> _Waiting:
        return _Waiting(self, name)


class _Waiting:
    """The waits of one call: longer each time, over when the caller says so or its patience ends."""

    def __init__(self, patience: _Patience, name: str) -> None:
        self._patience, self._name = patience, name
        self._pause = FIRST_WAIT_SECONDS
        self._waited = 0.0

    def wait(self, error: Exception) -> None:
        """Wait a while. Raises `StoreUnavailableError` instead when there is no more waiting."""
        self._patience.progress("wait")
        stopped = self._patience.stop.wait(self._pause)
        self._waited += self._pause
        self._pause = min(2 * self._pause, LONGEST_WAIT_SECONDS)
        if stopped or self._waited >= self._patience.seconds:
            why = "told to stop" if stopped else f"after {self._waited:.0f} s of waiting"
            raise StoreUnavailableError(
                f"table {self._name}: store or catalog does not answer ({type(error).__name__}), {why}; what was "
                f"offered may be in or not, and may be offered again"
            ) from error


def _tells(line: list[Snapshot], parent: int | None) -> bool:
    """Whether a line of snapshots reaches back to the head that an attempt was made on."""
    if parent is None:
        return not line or line[-1].sequence_number == 1
    return any(snapshot.snapshot_id == parent for snapshot in line)


def _store_of(table: Table) -> SinglePutFileIO:
    if not isinstance(table.io, SinglePutFileIO):
        raise TypeError(f"table {'.'.join(table.name())} was not loaded through `open_catalog`")
    return table.io
