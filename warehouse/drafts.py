"""What a change of a table consists of on the head it is made on; planned anew on each head.

Holds: rows at positions, rows derived from other tables, files in the place of others, files that come back.
Does not hold: the attempts (commit.py), the requests (table_session.py), the writing of a snapshot (snapshots.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table

from warehouse.offsets import (
    Interval,
    OffsetsError,
    Placement,
    advanced,
    commit_id,
    encode_intervals,
    encode_vector,
    place,
)
from warehouse.row_positions import rows_from
from warehouse.snapshots import (
    COMMIT_ID,
    INTERVALS,
    OFFSETS,
    ROWS,
    SOURCES,
    UPKEEP,
    WRITER,
    Draft,
    FilesChangedError,
    FilesGoneError,
    Head,
    Leaving,
    LiveFile,
    SweepOvertakenError,
    live_files,
    said_in_line,
    vector_of,
)
from warehouse.staging import SWEEP, StagedFiles, day_number, days_of
from warehouse.sweep_objects import condemned
from warehouse.table_session import StaleHead, TableSession, store_of


class Ingest:
    """Rows and intervals placed on a head: what of them is missing there, staged once for each remainder."""

    def __init__(self, session: TableSession, writer: str, rows: pa.Table, offered: list[Interval]) -> None:
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
                raise StaleHead from None
            raise
        if head.remembered and any(p.verdict != "accept" for p in placements):
            raise StaleHead
        return placements

    def _files(self, table: Table, missing: list[Interval]) -> StagedFiles:
        if self._staged and self._staged[0] == missing and self._staged[1].fits(table):
            return self._staged[1]
        starts = {(i.topic_id, i.partition): i.start for i in reversed(missing)}
        rows = self._rows if missing == self._offered else rows_from(self._rows, starts)
        self._staged = (missing, self._session.stage(table, rows))
        return self._staged[1]


Erased = Callable[[Iterable[str]], set[str]]
"""Those of the tokens whose people were erased."""
Fitting = Callable[[Table], bool]
"""Whether a change may be made on the table as it is; the commit requires that it has not moved since."""
TOKEN = "subject_token"


class Derived:
    """Rows computed from other tables, appended or put in the place of days; none of people who were erased while they
    were computed."""

    def __init__(
        self,
        session: TableSession,
        writer: str,
        rows: pa.Table,
        sources: Mapping[str, int],
        replaced: frozenset[date] | None,
        erased: Erased | None = None,
        fits: Fitting | None = None,
    ) -> None:
        self._session, self._rows, self._erased, self._fits = session, rows, erased, fits
        self._days = None if replaced is None else frozenset(map(day_number, replaced))
        self._said = {SOURCES: json.dumps(dict(sources), sort_keys=True), WRITER: writer}
        self._staged: StagedFiles | None = None
        self._is_offered = False

    def plan(self, head: Head) -> Draft | None:
        """The change as it is to be made on this head; None where it does not fit it."""
        if self._fits is not None and not self._fits(head.table):
            if head.remembered:
                raise StaleHead
            return None
        if self._days is not None and not head.table.spec().fields:
            raise ValueError(f"table {self._session.name} has no days to replace: it is not partitioned")
        while self._left_out(head) or self._staged is None or not self._staged.fits(head.table):
            self._staged, self._is_offered = self._session.stage(head.table, self._rows), False
        if self._days is not None and any(file.partition[0] not in self._days for file in self._staged.files):
            raise ValueError(f"table {self._session.name}: rows of another day than those they are to replace")
        text = said_in_line(head.metadata, OFFSETS)
        leaving = None if self._days is None else Leaving(self._days)
        self._is_offered = True
        said = {**self._said, ROWS: str(self._rows.num_rows), **({OFFSETS: text} if text else {})}
        return Draft(said, self._staged.files, leaving)

    def _left_out(self, head: Head) -> bool:
        """Whether rows had to go because their people are on the list of the erased by now. It is asked before staging,
        so that nothing of them reaches the store, and after it, which is the last moment before the commit."""
        if self._erased is None or TOKEN not in self._rows.column_names:
            return False
        tokens = self._rows[TOKEN].cast(pa.string())
        gone = self._erased(token for token in pc.unique(tokens).to_pylist() if token is not None)
        if not gone:
            return False
        theirs = pc.is_in(tokens, pa.array(sorted(gone), pa.string()))
        self._rows = self._rows.filter(pc.invert(theirs))
        staged, self._staged = self._staged, None
        if staged is not None and not self._is_offered:  # what was offered may be in the table, for all we know
            store_of(head.table).delete_many([file.file_path for file in staged.files])
        return True


class Rewrite:
    """Files in the place of others, what the head says of its sources carried along."""

    def __init__(
        self, writer: str, removed: list[LiveFile], added: StagedFiles, said: Mapping[str, str], news: bool = False
    ) -> None:
        self._added = added
        self._leaving = Leaving(frozenset(f.day for f in removed), frozenset(f.file.file_path for f in removed))
        self._sequence = None if news else max(file.sequence for file in removed)
        self._said = {**said, ROWS: str(added.rows), WRITER: writer}

    def plan(self, head: Head) -> Draft:
        """The replacement as it is to be made on this head."""
        if not self._added.fits(head.table):
            raise FilesChangedError(
                f"table {'.'.join(head.table.name())} got another schema, or was swept, after the files were staged"
            )
        return Draft({**self._said, **_carried(head)}, self._added.files, self._leaving, self._sequence)


class Restoring:
    """Files that left, coming back as they were."""

    def __init__(self, writer: str, files: list[LiveFile], said: Mapping[str, str]) -> None:
        self._files, self._said = files, {**said, WRITER: writer}

    def plan(self, head: Head) -> Draft | None:
        """The files that this head lacks; None where it lacks none."""
        if head.remembered:
            raise StaleHead
        store = store_of(head.table)
        there = {live.file.file_path for live in live_files(head, store)}
        missing = [live for live in self._files if live.file.file_path not in there]
        if not missing:
            return None
        _require_objects(head.table, [live.file.file_path for live in missing])
        rows = sum(live.file.record_count for live in missing)
        said = {**self._said, ROWS: str(rows), **_carried(head)}
        return Draft(said, tuple(live.file for live in missing), sequence=max(live.sequence for live in missing))


class Recording:
    """Rows at positions that the vector has passed, as far as the head lacks them."""

    def __init__(self, session: TableSession, writer: str, rows: pa.Table, said: Mapping[str, str]) -> None:
        self._session, self._rows, self._said = session, rows, {**said, WRITER: writer}

    def plan(self, head: Head) -> Draft | None:
        """The append of those rows that are missing on this very head."""
        if head.remembered:
            raise StaleHead
        rows = self._rows.filter(pc.invert(_recorded(head, self._rows)))
        if not rows.num_rows:
            return None
        staged = self._session.stage(head.table, rows)
        return Draft({**self._said, ROWS: str(rows.num_rows), **_carried(head)}, staged.files)


class SweepFence:
    """A head of its own for a sweep, and the sweep's name in the table's properties."""

    def __init__(self, writer: str, sweep: str, before: str | None) -> None:
        self._sweep, self._before = sweep, before
        self._said = {UPKEEP: "sweep", ROWS: "0", WRITER: writer}

    def plan(self, head: Head) -> Draft | None:
        """The empty append; None where the table has this sweep's name."""
        if head.remembered:
            raise StaleHead
        if head.snapshot is None:
            raise ValueError(f"table {'.'.join(head.table.name())} has no snapshot: nothing of it can be swept")
        known = head.metadata.properties.get(SWEEP)
        if known == self._sweep:
            return None
        if known != self._before:
            raise SweepOvertakenError(f"table {'.'.join(head.table.name())}: another sweep came first")
        return Draft({**self._said, **_carried(head)}, properties={SWEEP: self._sweep})


class Clustering:
    """The same files under other manifests."""

    def __init__(self, writer: str, said: Mapping[str, str]) -> None:
        self._said = {**said, ROWS: "0", WRITER: writer}

    def plan(self, head: Head) -> Draft:
        """An empty append whose manifests are written anew."""
        return Draft({**self._said, **_carried(head)}, clustered=True)


def _recorded(head: Head, rows: pa.Table) -> pa.Array:
    """bool[n]: whether the head has a row at the position of each of `rows`."""
    store, days = store_of(head.table), days_of(rows, head.table)
    found: set[tuple[str, int, int]] = set()
    for live in live_files(head, store):
        if live.day in days:
            with store.new_input(live.file.file_path).open() as file:
                found.update(_positions(pq.read_table(file, columns=list(_POSITION))))
    return pa.array([position in found for position in _positions(rows)], pa.bool_())


_POSITION = ("topic_id", "kafka_partition", "kafka_offset")


def _positions(rows: pa.Table) -> list[tuple[str, int, int]]:
    return list(zip(*(rows[name].to_pylist() for name in _POSITION), strict=True))


def _require_objects(table: Table, locations: list[str]) -> None:
    """Raises `FilesGoneError` unless all are in the store and no sweep that has begun will delete them."""
    store, doomed = store_of(table), condemned(table)
    gone = [location for location in locations if location in doomed or not store.new_input(location).exists()]
    if gone:
        raise FilesGoneError(f"table {'.'.join(table.name())}: {len(gone)} of {len(locations)} files were swept")


def _carried(head: Head) -> dict[str, str]:
    """What a commit that brings nothing new says of where the table's rows come from: what was said before it."""
    return {key: text for key in (OFFSETS, SOURCES) if (text := said_in_line(head.metadata, key))}
