"""The fence: each source position enters a table once, whatever was retried, killed or answered late.

Holds: the committer of a table. Every snapshot it makes carries the table's whole offset vector in its summary; an
interval is placed against the vector of the very head that the commit requires unchanged; an outcome that is not known
is looked up in the table, and nothing is ever deleted because of it.
Does not hold: the arithmetic (offsets.py), what a change consists of (drafts.py), requests (table_session.py), files
(staging.py), snapshots (snapshots.py), or when a commit is due.

pyiceberg supplies formats, requirements and the catalog's compare-and-swap. Its own append is not used: it retries by
moving a stale append onto a new head, and it deletes the manifests of a commit that may have landed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow as pa
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.snapshots import Snapshot

from warehouse.drafts import Clustering, Derived, Erased, Fitting, Ingest, Recording, Restoring, Rewrite, SweepFence
from warehouse.object_store import StoreUnavailableError
from warehouse.offsets import (
    GapError,
    Interval,
    OffsetsError,
    PartitionAddedError,
    Vector,
    VectorMissingError,
    decode_vector,
    encode_vector,
    joined,
    started,
)
from warehouse.row_positions import RowsError, check_positions
from warehouse.snapshots import (
    OFFSETS,
    ROWS,
    WRITER,
    Draft,
    Earlier,
    FilesChangedError,
    FilesGoneError,
    Head,
    LiveFile,
    SweepOvertakenError,
    line_of,
    said_in_line,
    vector_of,
)
from warehouse.staging import StagedFiles
from warehouse.table_session import TRANSIENT, StaleHead, TableChangedError, TableSession
from warehouse.waiting import Patience, Waiting

__all__ = [
    "CommitReceipt",
    "FencedTable",
    "FilesChangedError",
    "FilesGoneError",
    "GapError",
    "OutcomeUnknownError",
    "PartitionAddedError",
    "RowsError",
    "StoreUnavailableError",
    "SweepOvertakenError",
    "TableChangedError",
    "VectorMissingError",
]

KEPT_SNAPSHOTS = 50


class OutcomeUnknownError(Exception):
    """Whether a commit without positions landed cannot be told: the snapshots that would show it are gone."""


LASTING = (
    OffsetsError,
    RowsError,
    TableChangedError,
    OutcomeUnknownError,
    FilesChangedError,
    FilesGoneError,
    SweepOvertakenError,
)
"""What waiting does not cure."""


@dataclass(frozen=True, slots=True)
class CommitReceipt:
    """What became of one commit.

    Attributes:
        snapshot_id: the snapshot made by this call, None if everything was in the table already, or if the change did
            not fit the table.
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
        erased: who of some people (tokens) was erased; what is derived of others leaves their rows out.
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
        erased: Erased | None = None,
    ) -> None:
        self._writer, self._erased = writer, erased
        self._session = TableSession(catalog, identifier, clock, progress, kept_snapshots)
        self._patience = Patience(stop or threading.Event(), patience_seconds, progress)

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
        """As `establish_all`, of one topic."""
        return self.establish_all({topic_id: low_watermarks})

    def establish_all(self, topics: Mapping[str, Mapping[int, int]]) -> Vector:
        """Record where the table's reading of topics starts, in one commit; the vector afterwards. `topics` names all
        partitions of each with their low watermarks, by topic id.

        Does nothing where every start is recorded. Raises `PartitionAddedError` if a topic's partitions are not those
        of the record, `GapError` if a log now begins above what was read, `VectorMissingError` if the table has a
        history without a vector, `TableChangedError`, `StoreUnavailableError`.
        """

        def plan(head: Head) -> Draft | None:
            if head.remembered:
                raise StaleHead
            vector = before = vector_of(head.metadata)
            for topic_id, low_watermarks in topics.items():
                vector = started(vector, topic_id, low_watermarks) or vector
            if vector is before:
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
        ingest = Ingest(self._session, self._writer, rows, offered)
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
        self,
        rows: pa.Table,
        sources: Mapping[str, int],
        replace: date | Iterable[date] | None = None,
        fits: Fitting | None = None,
    ) -> CommitReceipt:
        """Append rows computed from other tables, or put them in place of partition days, in one atomic commit.

        `sources` maps table uuid -> snapshot id that was read. With `replace`, a day or several, all rows must lie in
        these, and repeating the call is harmless. A vector the table has is carried along. `fits` is asked of each
        head that the commit would build on; where it says no, nothing is written. Raises `OutcomeUnknownError` when an
        append without `replace` may have landed and the history that would tell is gone, `TableChangedError`,
        `StoreUnavailableError`, `ValueError` for rows of another day.
        """
        days = frozenset({replace}) if isinstance(replace, date) else None if replace is None else frozenset(replace)
        derived = Derived(self._session, self._writer, rows, sources, days, self._erased, fits)
        return _carrying(self._land(derived.plan, needs_history=days is None))

    def replace_files(
        self,
        removed: Iterable[LiveFile],
        added: StagedFiles,
        said: Mapping[str, str],
        fewer_rows: int = 0,
        news: bool = False,
    ) -> CommitReceipt:
        """Put staged files in the place of others of this table, in one atomic commit beside whatever else is written.

        The new files keep the data sequence number of the newest old one: their rows are not news to whoever reads what
        changed, unless `news` says that they are. `said`: summary keys that tell what this is. `fewer_rows`: how many
        rows are meant to go; nothing is written unless exactly so many do. Raises `FilesChangedError` where one of the
        files left meanwhile, the schema changed or unreferenced objects were swept (stage again), `ValueError` for rows
        that do not add up, `TableChangedError`, `StoreUnavailableError`. A vector and the sources the table has are
        carried along.
        """
        removed = list(removed)
        if not removed:
            raise ValueError(f"table {self.name}: no file to replace")
        gone = sum(file.file.record_count for file in removed) - added.rows
        if gone != fewer_rows:
            raise ValueError(f"table {self.name}: {gone} rows would go, {fewer_rows} are meant to")
        return _carrying(self._land(Rewrite(self._writer, removed, added, said, news).plan))

    def restore_files(self, files: Iterable[LiveFile], said: Mapping[str, str]) -> CommitReceipt:
        """Put files that this table once had back into it, unless they are in it.

        They keep the data sequence number of the newest of them. Raises `FilesGoneError` where one of their objects is
        not in the store any more or is being swept, `TableChangedError`, `StoreUnavailableError`.
        """
        return _carrying(self._land(Restoring(self._writer, list(files), said).plan))

    def append_missing(self, rows: pa.Table, said: Mapping[str, str]) -> CommitReceipt:
        """Append those of the rows whose position (topic, partition, offset) the table does not have.

        For positions that the table's vector has passed: to be repeated at will, by several at a time. A vector the
        table has is carried along. Raises `TableChangedError`, `StoreUnavailableError`.
        """
        return _carrying(self._land(Recording(self._session, self._writer, rows, said).plan))

    def sweep_fence(self, sweep: str, before: str | None) -> Head:
        """Change the head in such a way that nothing which was staged before can become part of the table any more.

        An empty snapshot, and beside it the sweep's name as a property of the table: who staged files under another
        name stages anew (`StagedFiles.fits`). Does nothing where the table has this name already. `before`: the name
        it had when this sweep was prepared. Returns the head that has it. Raises `SweepOvertakenError` where it has a
        third one, `ValueError` for a table without a snapshot, `TableChangedError`, `StoreUnavailableError`.
        """
        return self._land(SweepFence(self._writer, sweep, before).plan).head

    def cluster_manifests(self, said: Mapping[str, str]) -> CommitReceipt:
        """Write the head's manifests as few, each of days that lie together; no file comes or goes. Raises
        `TableChangedError`, `StoreUnavailableError`."""
        return _carrying(self._land(Clustering(self._writer, said).plan))

    def expire(self, snapshot_ids: Iterable[int]) -> list[int]:
        """Let snapshots go; which of them are gone now, by whoever.

        Never one that a branch or tag names, nor one whose vector a kept one relies on. Deletes no object. Raises
        `TableChangedError`, `StoreUnavailableError`.
        """
        asked, waiting = list(snapshot_ids), self._patience.begin(self.name)
        while True:
            try:
                return self._session.expire(asked)
            except CommitFailedException:
                continue
            except (*TRANSIENT, StoreUnavailableError) as error:
                waiting.wait(error)

    def _land(self, plan: Callable[[Head], Draft | None], needs_history: bool = False) -> _Landing:
        landing = _Landing(self._session, plan, needs_history)
        landing.run(self._patience.begin(self.name))
        return landing


class _Landing:
    """One change on its way into a table: plan it on a head, prepare, swap; again until it is known to be in."""

    def __init__(self, session: TableSession, plan: Callable[[Head], Draft | None], needs_history: bool) -> None:
        self._session, self._plan, self._needs_history = session, plan, needs_history
        self._sent: dict[int, tuple[int | None, Draft]] = {}
        self._earlier = Earlier()
        self._faults = 0
        self.attempts = 0
        self.draft: Draft | None = None
        self.snapshot_id: int | None = None
        self.head: Head

    @property
    def rows(self) -> int:
        """Rows that landed by this change."""
        return sum(file.record_count for file in self.draft.added) if self.draft else 0

    def run(self, waiting: Waiting) -> None:
        """Return when the change is in the table, or nothing of it is missing there."""
        while True:
            try:
                return self._try_once()
            except StaleHead:
                self._session.forget()
            except CommitFailedException:
                # Another commit came first, so ours is not in, for certain: again, with the same files and manifests.
                self._session.overtaken()
            except LASTING:
                raise
            except Exception as error:
                self._session.forget()
                self._earlier.rewritten = None  # its snapshot may be in: no other may bear the same id
                self._raise_if_a_bug(error)
                waiting.wait(error)

    def _try_once(self) -> None:
        self.head = self._session.head()
        if self._found_in(self.head):
            return
        draft = self._plan(self.head)
        if draft is None:
            return
        prepared = self._session.prepare(self.head, draft, self._earlier)
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


def _carrying(landing: _Landing) -> CommitReceipt:
    """The receipt of a commit that brought no positions."""
    text = said_in_line(landing.head.metadata, OFFSETS)
    return CommitReceipt(
        landing.snapshot_id, landing.rows, landing.attempts, vector=decode_vector(text) if text else {}
    )


def _tells(line: list[Snapshot], parent: int | None) -> bool:
    """Whether a line of snapshots reaches back to the head that an attempt was made on."""
    if parent is None:
        return not line or line[-1].sequence_number == 1
    return any(snapshot.snapshot_id == parent for snapshot in line)
