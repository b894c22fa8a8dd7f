"""The fence on real catalogs and stores: nothing twice, nothing lost, whatever comes between."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import AssertRefSnapshotId, SetSnapshotRefUpdate

from tests.warehouse.fenced import (
    DAY,
    NOON,
    TOPIC,
    contract,
    each_once,
    interval,
    new_table,
    no_rows,
    positions,
    readings,
)
from warehouse import drafts, snapshots, table_session, tables
from warehouse.catalog import open_catalog
from warehouse.commit import (
    FencedTable,
    FilesChangedError,
    GapError,
    OutcomeUnknownError,
    PartitionAddedError,
    RowsError,
    StoreUnavailableError,
    TableChangedError,
    VectorMissingError,
)
from warehouse.days import changes_since
from warehouse.lake_session import open_session
from warehouse.object_store import _NewObject
from warehouse.offsets import Interval, Placement, decode_intervals, decode_vector
from warehouse.settings import Settings
from warehouse.snapshots import Head, LiveFile, live_files, manifests_of, vector_of
from warehouse.staging import stage

Identifier = tuple[str, str]


def fenced(settings: Settings, identifier: Identifier, **options: Any) -> FencedTable:
    """A committer as another process would open it: with a catalog of its own."""
    return FencedTable(open_catalog(settings), identifier, writer=f"test-{uuid.uuid4().hex[:6]}", **options)


def started(settings: Settings, partitions: int = 2, **options: Any) -> tuple[FencedTable, Identifier]:
    """A new `vitals` table whose reading of TOPIC starts at 0, and a committer on it."""
    _, identifier = new_table(settings)
    table = fenced(settings, identifier, **options)
    table.establish(TOPIC, dict.fromkeys(range(partitions), 0))
    return table, identifier


def loaded(settings: Settings, identifier: Identifier) -> Table:
    return open_catalog(settings).load_table(identifier)


class Answers:
    """Stands before a catalog's `commit_table`: `before` and `after` are called around each request; what they raise
    is what the caller gets instead of the answer."""

    def __init__(self, catalog: Catalog, before: Callable[[], None] | None = None, after: Any = None) -> None:
        self._commit_table, self._before, self._after = catalog.commit_table, before, after
        self.asked = 0
        catalog.commit_table = self  # ty: ignore[invalid-assignment]

    def __call__(self, *request: Any) -> CommitTableResponse:
        self.asked += 1
        if self._before:
            self._before()
        response = self._commit_table(*request)
        if self._after:
            self._after()
        return response


def once(action: Callable[[], None]) -> Callable[[], None]:
    """The action, the first time only."""
    left = [action]
    return lambda: left.pop()() if left else None


def lost_answer() -> None:
    raise ConnectionResetError("the answer was lost")


# --- what enters, and what does not


def test_rows_and_positions_enter_together(lake: Settings) -> None:
    table, identifier = started(lake)
    receipt = table.commit(readings(0, 100), [interval(0, 110)])
    assert (receipt.rows, receipt.attempts, receipt.vector) == (100, 1, {TOPIC: {0: 110, 1: 0}})
    assert positions(lake) == each_once(0, 100)
    summary = loaded(lake, identifier).current_snapshot().summary.additional_properties
    assert decode_vector(summary["wardstream.offsets"]) == {TOPIC: {0: 110, 1: 0}}
    assert decode_intervals(summary["wardstream.intervals"]) == [interval(0, 110)]
    assert (summary["wardstream.rows"], summary["total-records"]) == ("100", "100")
    assert summary["wardstream.writer"].startswith("test-")
    assert len(summary["wardstream.commit-id"]) == 32


def test_offering_the_same_again_changes_nothing(lake: Settings) -> None:
    table, identifier = started(lake)
    table.commit(readings(0, 100), [interval(0, 100)])
    before = loaded(lake, identifier).metadata_location
    for again in (table, fenced(lake, identifier)):
        receipt = again.commit(readings(0, 100), [interval(0, 100)])
        assert (receipt.snapshot_id, receipt.rows, receipt.dropped) == (None, 0, (interval(0, 100),))
    assert loaded(lake, identifier).metadata_location == before


def test_of_an_overlap_only_the_remainder_enters(lake: Settings) -> None:
    table, _ = started(lake)
    table.commit(readings(0, 100), [interval(0, 100)])
    both = pa.concat_tables([readings(50, 150), readings(0, 10, partition=1)])
    receipt = table.commit(both, [interval(50, 150), interval(0, 10, 1)])
    assert (receipt.rows, receipt.trimmed, receipt.dropped) == (60, (interval(100, 150),), ())
    assert positions(lake) == each_once(0, 150) + each_once(0, 10, 1)


def test_one_partition_may_be_in_already_while_another_is_not(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)
    table.commit(readings(0, 100), [interval(0, 100)])
    both = pa.concat_tables([readings(0, 100), readings(0, 10, partition=1)])
    receipt = table.commit(both, [interval(0, 100), interval(0, 10, 1)])
    assert (receipt.rows, receipt.dropped) == (10, (interval(0, 100),))
    assert positions(folder_lake) == each_once(0, 100) + each_once(0, 10, 1)


def test_a_gap_stops_and_writes_nothing(lake: Settings) -> None:
    table, identifier = started(lake)
    before = loaded(lake, identifier).metadata_location
    with pytest.raises(GapError, match=r"\[0, 5\) would be lost"):
        table.commit(readings(5, 10), [interval(5, 10)])
    assert loaded(lake, identifier).metadata_location == before


def test_an_advance_without_rows_moves_the_vector(lake: Settings) -> None:
    table, identifier = started(lake)
    assert table.commit(no_rows(), [interval(0, 50)]).vector == {TOPIC: {0: 50, 1: 0}}
    table.commit(readings(50, 60), [interval(50, 60)])
    table.commit(no_rows(), [interval(60, 70)])
    assert fenced(lake, identifier).vector() == {TOPIC: {0: 70, 1: 0}}
    assert positions(lake) == each_once(50, 60)


def test_two_topics_keep_their_own_offsets_in_one_table(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)
    assert table.establish("second", {0: 7}) == {TOPIC: {0: 0, 1: 0}, "second": {0: 7}}
    both = pa.concat_tables([readings(0, 5), readings(7, 9, topic="second")])
    receipt = table.commit(both, [interval(0, 5), interval(7, 9, topic="second")])
    assert receipt.vector == {TOPIC: {0: 5, 1: 0}, "second": {0: 9}}
    assert positions(folder_lake) == each_once(0, 5) + each_once(7, 9, topic="second")


def test_a_recreated_topic_starts_again_at_zero_without_being_taken_for_a_replay(folder_lake: Settings) -> None:
    table, _ = started(folder_lake, partitions=1)
    table.commit(readings(0, 5), [interval(0, 5)])
    table.establish("recreated", {0: 0})
    assert table.commit(readings(0, 5, topic="recreated"), [interval(0, 5, topic="recreated")]).rows == 5
    assert positions(folder_lake) == each_once(0, 5) + each_once(0, 5, topic="recreated")


def test_rows_outside_the_offered_positions_are_refused(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)
    with pytest.raises(RowsError, match="1 of 10 rows lie outside"):
        table.commit(readings(0, 10), [interval(0, 9)])
    with pytest.raises(RowsError, match="two rows share a position"):
        table.commit(pa.concat_tables([readings(0, 5), readings(4, 5)]), [interval(0, 5)])


# --- where a table starts


def test_a_table_without_a_start_for_the_topic_takes_nothing(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    with pytest.raises(VectorMissingError, match="establish"):
        fenced(folder_lake, identifier).commit(readings(0, 5), [interval(0, 5)])


def test_a_start_is_recorded_by_an_empty_append_and_only_once(lake: Settings) -> None:
    _, identifier = new_table(lake)
    assert fenced(lake, identifier).vector() == {}
    assert fenced(lake, identifier).establish(TOPIC, {0: 3, 1: 0}) == {TOPIC: {0: 3, 1: 0}}
    assert fenced(lake, identifier).establish(TOPIC, {0: 2, 1: 0}) == {TOPIC: {0: 3, 1: 0}}
    table = loaded(lake, identifier)
    assert len(table.snapshots()) == 1
    assert table.scan().to_arrow().num_rows == 0


def test_the_starts_of_several_topics_are_one_snapshot_and_one_that_fits_no_more_stops_them_all(
    folder_lake: Settings,
) -> None:
    _, identifier = new_table(folder_lake)
    starts = {TOPIC: {0: 3, 1: 0}, "second": {0: 7}}
    assert fenced(folder_lake, identifier).establish_all(starts) == starts
    assert fenced(folder_lake, identifier).establish_all({"second": {0: 5}}) == starts
    assert fenced(folder_lake, identifier).establish_all({**starts, "third": {0: 0}}) == {**starts, "third": {0: 0}}
    assert len(loaded(folder_lake, identifier).snapshots()) == 2
    with pytest.raises(GapError, match="second"):
        fenced(folder_lake, identifier).establish_all({"fourth": {0: 0}, "second": {0: 8}})
    assert len(loaded(folder_lake, identifier).snapshots()) == 2


def test_racing_starts_leave_one(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table = fenced(folder_lake, identifier)
    Answers(table._session._catalog, before=once(lambda: _establish(folder_lake, identifier)))
    table.establish(TOPIC, {0: 0, 1: 0})
    assert len(loaded(folder_lake, identifier).snapshots()) == 1


def _establish(settings: Settings, identifier: Identifier) -> None:
    fenced(settings, identifier).establish(TOPIC, {0: 0, 1: 0})


def test_an_added_partition_stops(folder_lake: Settings) -> None:
    table, _ = started(folder_lake, partitions=2)
    with pytest.raises(PartitionAddedError):
        table.establish(TOPIC, {0: 0, 1: 0, 2: 0})
    with pytest.raises(PartitionAddedError):
        table.commit(readings(0, 5, partition=2), [interval(0, 5, 2)])


def test_a_log_that_lost_its_beginning_stops(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)
    with pytest.raises(GapError, match="left the log"):
        table.establish(TOPIC, {0: 4, 1: 0})


def test_a_history_without_a_vector_is_never_started_over(folder_lake: Settings) -> None:
    catalog, identifier = new_table(folder_lake)
    rows = readings(0, 5)
    schema = tables.arrow_schema(contract())
    catalog.load_table(identifier).append(
        pa.table(
            {f.name: rows[f.name].cast(f.type) if f.name in rows.column_names else pa.nulls(5, f.type) for f in schema},
            schema=schema,
        )
    )
    table = fenced(folder_lake, identifier)
    for call in (table.vector, lambda: table.establish(TOPIC, {0: 0}), lambda: table.commit(rows, [interval(0, 5)])):
        with pytest.raises(VectorMissingError, match="another writer"):
            call()


# --- others commit too


def test_a_foreign_commit_without_a_vector_does_not_hide_the_vector(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    table.commit(readings(0, 10), [interval(0, 10)])
    loaded(folder_lake, identifier).delete("kafka_offset < 5")
    assert fenced(folder_lake, identifier).vector() == {TOPIC: {0: 10, 1: 0}}
    table.commit(readings(10, 15), [interval(10, 15)])
    assert positions(folder_lake) == each_once(5, 15)


def test_a_conflict_is_tried_again_at_once_with_the_same_files(lake: Settings) -> None:
    steps: list[str] = []
    table, identifier = started(lake, progress=steps.append)
    other = fenced(lake, identifier)
    answers = Answers(
        table._session._catalog, before=once(lambda: other.commit(readings(0, 7, 1), [interval(0, 7, 1)]) and None)
    )
    receipt = table.commit(readings(0, 100), [interval(0, 100)])
    assert (receipt.attempts, answers.asked) == (2, 2)
    assert receipt.vector == {TOPIC: {0: 100, 1: 7}}
    assert (steps.count("stage"), steps.count("wait")) == (1, 0)
    assert positions(lake) == each_once(0, 100) + each_once(0, 7, 1)


def test_two_owners_of_a_partition_enter_each_position_once(lake: Settings) -> None:
    table, identifier = started(lake)
    other = fenced(lake, identifier)
    Answers(table._session._catalog, before=once(lambda: other.commit(readings(0, 60), [interval(0, 60)]) and None))
    receipt = table.commit(readings(0, 100), [interval(0, 100)])
    assert (receipt.rows, receipt.trimmed) == (40, (interval(60, 100),))
    assert positions(lake) == each_once(0, 100)


def test_what_a_remembered_head_calls_a_gap_is_looked_up_first(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    table.commit(readings(0, 5), [interval(0, 5)])
    fenced(folder_lake, identifier).commit(readings(5, 9), [interval(5, 9)])
    assert table.commit(readings(9, 12), [interval(9, 12)]).rows == 3
    assert positions(folder_lake) == each_once(0, 12)


def test_what_a_head_seen_long_ago_calls_a_gap_is_looked_up_first(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    other = fenced(folder_lake, identifier)
    other.vector()
    table.commit(readings(0, 5), [interval(0, 5)])
    assert other.commit(readings(5, 9), [interval(5, 9)]).rows == 4


def test_racing_writers_lose_and_double_nothing(lake: Settings) -> None:
    _, identifier = started(lake, partitions=2)
    commits = 8

    def write(partition: int) -> None:
        table = fenced(lake, identifier)
        for n in range(commits):
            start, end = max(0, 10 * n - 3), 10 * n + 10
            table.commit(readings(start, end, partition), [interval(start, end, partition)])

    writers = [threading.Thread(target=write, args=(partition,)) for partition in (0, 1, 1)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert positions(lake) == each_once(0, 10 * commits) + each_once(0, 10 * commits, 1)


def test_two_who_write_in_turn_meet_once_each_and_look_before_they_write_from_then_on(folder_lake: Settings) -> None:
    one, identifier = started(folder_lake)
    other = fenced(folder_lake, identifier)
    attempts = []
    for turn in range(6):
        start = 10 * turn
        attempts.append(one.commit(readings(start, start + 10), [interval(start, start + 10)]).attempts)
        attempts.append(other.commit(readings(start, start + 10, 1), [interval(start, start + 10, 1)]).attempts)
    assert attempts[2:] == [2, 2, *[1] * 8]


def test_who_writes_alone_remembers_the_head(folder_lake: Settings) -> None:
    steps: list[str] = []
    table, identifier = started(folder_lake, progress=steps.append)
    table.commit(readings(0, 10), [interval(0, 10)])
    fenced(folder_lake, identifier).commit(readings(0, 10, 1), [interval(0, 10, 1)])
    del steps[:]
    for start in range(10, 10 * (table_session.SHARED_ATTEMPTS + 5), 10):
        table.commit(readings(start, start + 10), [interval(start, start + 10)])
    assert steps[-8:].count("load") == 0
    assert steps.count("load") == table_session.SHARED_ATTEMPTS


# --- answers that never came


def test_a_commit_that_landed_unanswered_is_found_and_not_repeated(lake: Settings) -> None:
    table, identifier = started(lake)
    answers = Answers(table._session._catalog, after=once(lost_answer))
    receipt = table.commit(readings(0, 100), [interval(0, 100)])
    assert (receipt.rows, receipt.attempts, answers.asked) == (100, 1, 1)
    assert receipt.snapshot_id == loaded(lake, identifier).current_snapshot().snapshot_id
    assert positions(lake) == each_once(0, 100)


def test_a_commit_that_never_arrived_is_repeated(lake: Settings) -> None:
    table, _ = started(lake)
    Answers(table._session._catalog, before=once(lost_answer))
    receipt = table.commit(readings(0, 100), [interval(0, 100)])
    assert (receipt.rows, receipt.attempts) == (100, 2)
    assert positions(lake) == each_once(0, 100)


def test_an_unanswered_commit_whose_snapshot_is_gone_is_known_by_the_vector(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, kept_snapshots=2)
    other = fenced(folder_lake, identifier, kept_snapshots=2)

    def others_go_on_and_the_answer_is_lost() -> None:
        for n in range(4):
            other.commit(readings(n, n + 1, 1), [interval(n, n + 1, 1)])
        lost_answer()

    Answers(table._session._catalog, after=once(others_go_on_and_the_answer_is_lost))
    receipt = table.commit(readings(0, 100), [interval(0, 100)])
    assert (receipt.snapshot_id, receipt.dropped) == (None, (interval(0, 100),))
    assert positions(folder_lake) == each_once(0, 100) + each_once(0, 4, 1)


def test_nothing_is_deleted_when_the_outcome_is_unknown(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, patience_seconds=0.05)
    catalog = table._session._catalog

    def catalog_goes_away() -> None:
        catalog.load_table = _unreachable  # ty: ignore[invalid-assignment]
        lost_answer()

    Answers(catalog, after=catalog_goes_away)
    with pytest.raises(StoreUnavailableError, match="offered again"):
        table.commit(readings(0, 10), [interval(0, 10)])
    assert positions(folder_lake) == each_once(0, 10)
    assert fenced(folder_lake, identifier).commit(readings(0, 10), [interval(0, 10)]).rows == 0


def _unreachable(identifier: Identifier) -> Table:
    raise ConnectionRefusedError


def test_waiting_ends_when_the_caller_says_so(folder_lake: Settings) -> None:
    stop = threading.Event()
    steps: list[str] = []

    def note(step: str) -> None:
        steps.append(step)
        if steps.count("wait") == 2:
            stop.set()

    table, _ = started(folder_lake, stop=stop, progress=note)
    Answers(table._session._catalog, before=lost_answer)
    with pytest.raises(StoreUnavailableError, match="told to stop"):
        table.commit(readings(0, 10), [interval(0, 10)])
    assert steps.count("wait") == 2


def test_a_catalog_that_answers_again_is_committed_to(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)
    failures = iter([lost_answer, lost_answer, lambda: None])
    Answers(table._session._catalog, before=lambda: next(failures)())
    assert table.commit(readings(0, 10), [interval(0, 10)]).attempts == 3


def test_a_bug_is_not_waited_for(folder_lake: Settings) -> None:
    table, _ = started(folder_lake)

    def bug() -> None:
        raise KeyError("a bug")

    answers = Answers(table._session._catalog, before=bug)
    with pytest.raises(KeyError):
        table.commit(readings(0, 10), [interval(0, 10)])
    assert answers.asked == 2


def test_a_catalog_that_accepts_and_forgets_is_not_believed(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, patience_seconds=0.05)
    catalog = table._session._catalog

    def accepts_and_forgets(current: Table, *_: Any) -> CommitTableResponse:
        return CommitTableResponse(metadata=current.metadata, metadata_location=current.metadata_location)

    catalog.commit_table = accepts_and_forgets  # ty: ignore[invalid-assignment]
    with pytest.raises(StoreUnavailableError):
        table.commit(readings(0, 10), [interval(0, 10)])
    assert fenced(folder_lake, identifier).vector() == {TOPIC: {0: 0, 1: 0}}


def test_a_table_replaced_by_another_of_its_name_is_refused(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    catalog = open_catalog(folder_lake)
    catalog.rename_table(identifier, (identifier[0], "vitals_old"))
    with pytest.raises(TableChangedError, match="not in the catalog"):
        table.commit(readings(0, 10), [interval(0, 10)])
    new_table(folder_lake)
    with pytest.raises(TableChangedError, match="replaced"):
        table.commit(readings(0, 10), [interval(0, 10)])


# --- the oracle sees a missing fence


def test_without_the_fence_rows_double_and_the_count_shows_it(
    folder_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def accept_everything(vector: object, intervals: list[Interval]) -> list[Placement]:
        return [Placement(i, "accept", i.start) for i in intervals]

    table, _ = started(folder_lake)
    monkeypatch.setattr(drafts, "place", accept_everything)
    for _ in range(2):
        table.commit(readings(0, 10), [interval(0, 10)])
    assert positions(folder_lake) == each_once(0, 10) + each_once(0, 10)
    assert positions(folder_lake) != each_once(0, 10)


def test_without_the_unchanged_head_rows_double_and_the_count_shows_it(
    folder_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the library's own retry does: the stale append is put onto whatever the head is now."""
    table, identifier = started(folder_lake)
    other = fenced(folder_lake, identifier)
    catalog = table._session._catalog
    ask = catalog.commit_table

    def retry_on_the_new_head(current: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        other.commit(readings(0, 10), [interval(0, 10)])
        head = catalog.load_table(identifier)
        snapshot = updates[0].snapshot.model_copy(
            update={"parent_snapshot_id": head.metadata.current_snapshot_id, "sequence_number": 99}
        )
        kept = [r for r in requirements if not isinstance(r, AssertRefSnapshotId)]
        return ask(head, tuple(kept), (updates[0].model_copy(update={"snapshot": snapshot}), *updates[1:]))

    monkeypatch.setattr(catalog, "commit_table", retry_on_the_new_head)
    table.commit(readings(0, 10), [interval(0, 10)])
    line = snapshots.line_of(loaded(folder_lake, identifier).metadata)
    assert sum(int(s.summary.additional_properties.get("wardstream.rows", 0)) for s in line) == 20


# --- what a table carries along


def test_a_rolled_back_table_takes_its_vector_back(lake: Settings) -> None:
    table, identifier = started(lake)
    first = table.commit(readings(0, 10), [interval(0, 10)])
    table.commit(readings(10, 20), [interval(10, 20)])
    _roll_back(lake, identifier, first.snapshot_id)
    assert fenced(lake, identifier).vector() == {TOPIC: {0: 10, 1: 0}}
    with pytest.raises(GapError):
        table.commit(readings(20, 30), [interval(20, 30)])
    assert table.commit(readings(5, 30), [interval(5, 30)]).rows == 20
    assert positions(lake) == each_once(0, 30)


def test_what_a_remembered_head_has_is_looked_up_before_it_is_called_in_already(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    first = table.commit(readings(0, 10), [interval(0, 10)])
    table.commit(readings(10, 20), [interval(10, 20)])
    _roll_back(folder_lake, identifier, first.snapshot_id)
    assert table.commit(readings(10, 20), [interval(10, 20)]).rows == 10
    assert positions(folder_lake) == each_once(0, 20)


def _roll_back(settings: Settings, identifier: Identifier, snapshot_id: int | None) -> None:
    catalog = open_catalog(settings)
    update = SetSnapshotRefUpdate(ref_name="main", type=SnapshotRefType.BRANCH, snapshot_id=snapshot_id)
    catalog.commit_table(catalog.load_table(identifier), (), (update,))


def test_at_most_so_many_snapshots_are_kept_and_the_vector_with_them(lake: Settings) -> None:
    table, identifier = started(lake, kept_snapshots=5)
    for n in range(9):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
        assert len(loaded(lake, identifier).snapshots()) <= 5
    assert fenced(lake, identifier).vector() == {TOPIC: {0: 9, 1: 0}}
    assert positions(lake) == each_once(0, 9)


def test_a_tagged_snapshot_is_kept(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, kept_snapshots=3)
    tagged = table.commit(readings(0, 1), [interval(0, 1)]).snapshot_id
    loaded(folder_lake, identifier).manage_snapshots().create_tag(tagged, "trained-on").commit()
    for n in range(1, 7):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
    metadata = loaded(folder_lake, identifier).metadata
    assert metadata.snapshot_by_name("trained-on").snapshot_id == tagged
    assert len(metadata.snapshots) <= 4


def test_a_kept_snapshot_without_a_vector_keeps_the_one_that_has_it(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, kept_snapshots=3)
    table.commit(readings(0, 10), [interval(0, 10)])
    foreign = loaded(folder_lake, identifier)
    foreign.delete("kafka_offset < 5")
    foreign.manage_snapshots().create_tag(foreign.metadata.current_snapshot_id, "foreign").commit()
    for n in range(10, 17):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
    assert len(loaded(folder_lake, identifier).metadata.snapshots) <= 5
    _roll_back(folder_lake, identifier, foreign.metadata.current_snapshot_id)
    assert fenced(folder_lake, identifier).vector() == {TOPIC: {0: 10, 1: 0}}


def test_a_kept_snapshot_keeps_its_way_to_the_vector_as_well(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, kept_snapshots=3)
    table.commit(readings(0, 10), [interval(0, 10)])
    foreign = loaded(folder_lake, identifier)
    for end in (2, 4, 6):
        foreign.delete(f"kafka_offset < {end}")
    foreign.manage_snapshots().create_tag(foreign.metadata.current_snapshot_id, "foreign").commit()
    for n in range(10, 17):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
    assert len(loaded(folder_lake, identifier).metadata.snapshots) <= 7
    _roll_back(folder_lake, identifier, foreign.metadata.current_snapshot_id)
    assert fenced(folder_lake, identifier).vector() == {TOPIC: {0: 10, 1: 0}}


def test_a_tag_made_in_the_very_moment_is_not_taken_along(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake, kept_snapshots=3)
    receipts = [table.commit(readings(n, n + 1), [interval(n, n + 1)]) for n in range(3)]
    oldest = receipts[0].snapshot_id

    def tag() -> None:
        loaded(folder_lake, identifier).manage_snapshots().create_tag(oldest, "trained-on").commit()

    Answers(table._session._catalog, before=once(tag))
    table.commit(readings(3, 4), [interval(3, 4)])
    assert loaded(folder_lake, identifier).metadata.snapshot_by_name("trained-on").snapshot_id == oldest


def test_a_table_s_time_does_not_run_backwards_with_the_clock(folder_lake: Settings) -> None:
    now = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    times = iter([now, now - timedelta(hours=1), now + timedelta(seconds=1)])
    table, identifier = started(folder_lake, clock=lambda: next(times))
    table.commit(readings(0, 5), [interval(0, 5)])
    table.commit(readings(5, 9), [interval(5, 9)])
    stamps = [entry.timestamp_ms for entry in loaded(folder_lake, identifier).history()]
    assert stamps == sorted(stamps)
    assert stamps[-1] == int(now.timestamp() * 1000) + 1000


def test_many_small_manifests_become_one_and_no_file_is_lost(
    store_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "MERGED_MANIFESTS", 4)
    monkeypatch.setattr(snapshots, "MERGE_TIERS", (4, 16))
    table, identifier = started(store_lake)
    for n in range(21):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
        head = loaded(store_lake, identifier)
        assert len(head.current_snapshot().manifests(head.io)) <= 9
    assert positions(store_lake) == each_once(0, 21)
    assert duckdb_count(store_lake, head) == 21
    assert fenced(store_lake, identifier).commit(readings(21, 22), [interval(21, 22)]).rows == 1


def cut_behind_its_header(location: str) -> Callable[[], None]:
    """Leave of an Avro file what still reads as a whole one, without entries; the answer puts it right again."""
    path = Path(location.removeprefix("file://"))
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(whole[-16:]) + 16])
    return lambda: cast(None, path.write_bytes(whole))


def test_half_of_a_manifest_list_lets_no_file_go(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    table.commit(readings(0, 5), [interval(0, 5)])
    restore = cut_behind_its_header(loaded(folder_lake, identifier).current_snapshot().manifest_list)
    other = fenced(folder_lake, identifier, patience_seconds=0.1)
    with pytest.raises(StoreUnavailableError):
        other.commit(readings(5, 9), [interval(5, 9)])
    restore()
    other.commit(readings(5, 9), [interval(5, 9)])
    assert positions(folder_lake) == each_once(0, 9)


def test_half_of_a_manifest_lets_no_file_go(folder_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "MERGED_MANIFESTS", 3)
    monkeypatch.setattr(snapshots, "MERGE_TIERS", (3,))
    table, identifier = started(folder_lake, patience_seconds=0.1)
    for n in range(3):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
    head = loaded(folder_lake, identifier)
    restore = cut_behind_its_header(head.current_snapshot().manifests(head.io)[0].manifest_path)
    with pytest.raises(StoreUnavailableError):
        table.commit(readings(3, 4), [interval(3, 4)])
    restore()
    table.commit(readings(3, 4), [interval(3, 4)])
    assert positions(folder_lake) == each_once(0, 4)


def test_old_metadata_files_are_swept(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_session, "SWEPT_FILES", 3)
    table, identifier = started(lake)
    first = loaded(lake, identifier).metadata_location
    for n in range(26):
        table.commit(readings(n, n + 1), [interval(n, n + 1)])
    head = loaded(lake, identifier)
    assert not head.io.new_input(first).exists()
    assert all(head.io.new_input(entry.metadata_file).exists() for entry in head.metadata.metadata_log)


def test_a_commit_of_one_day_writes_four_objects_and_reads_one(
    store_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data, manifest, manifest list, metadata; and the catalog reads the metadata that it replaces."""
    table, _ = started(store_lake)
    table.commit(readings(0, 5), [interval(0, 5)])
    requests: list[str] = []
    create, open_ = _NewObject.create, PyArrowFile.open
    monkeypatch.setattr(_NewObject, "create", lambda f, overwrite=False: requests.append("put") or create(f, overwrite))
    monkeypatch.setattr(PyArrowFile, "open", lambda f, seekable=True: requests.append("get") or open_(f, seekable))
    table.commit(readings(5, 9), [interval(5, 9)])
    assert sorted(requests) == ["get", *["put"] * 4]


def test_duckdb_reads_what_was_committed(store_lake: Settings) -> None:
    table, identifier = started(store_lake)
    table.commit(readings(0, 10, step_us=DAY // 4), [interval(0, 10)])
    table.commit(no_rows(), [interval(10, 20)])
    assert duckdb_count(store_lake, loaded(store_lake, identifier)) == 10


def duckdb_count(settings: Settings, table: Table) -> int:
    with open_session(settings) as session:
        row = session.execute("SELECT count(*) FROM iceberg_scan(?)", [table.metadata_location]).fetchone()
    assert row is not None
    return row[0]


# --- derived tables


def minutes(day: date, count: int) -> pa.Table:
    """Rows of `vitals_by_minute` in one day."""
    schema = tables.arrow_schema(contract("vitals_by_minute"))
    first = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
    columns = {}
    for column in schema:
        if pa.types.is_timestamp(column.type):
            columns[column.name] = pa.array([first + n * 60_000_000 for n in range(count)], column.type)
        elif column.type == pa.string():
            columns[column.name] = pa.array(["a"] * count)
        else:
            columns[column.name] = pa.array([count] * count).cast(column.type)
    return pa.table(columns, schema=schema)


FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)


def test_a_day_is_replaced_in_one_commit_and_others_stay(lake: Settings) -> None:
    _, identifier = new_table(lake, "vitals_by_minute")
    table = fenced(lake, identifier)
    table.append_derived(minutes(FIRST, 3), {"u": 1}, FIRST)
    table.append_derived(minutes(SECOND, 4), {"u": 1}, SECOND)
    receipt = table.append_derived(minutes(FIRST, 5), {"u": 2}, FIRST)
    head = loaded(lake, identifier)
    assert receipt.rows == 5
    assert head.scan().to_arrow().num_rows == 9
    assert head.scan("minute < '2026-03-02T00:00:00+00:00'").to_arrow().num_rows == 5
    summary = head.current_snapshot().summary
    assert summary.operation == Operation.OVERWRITE
    assert json.loads(summary.additional_properties["wardstream.sources"]) == {"u": 2}
    assert summary.additional_properties["total-records"] == "9"
    assert len(list(head.snapshots())) == 3


def test_a_day_of_several_files_beside_others_in_one_manifest_is_replaced(store_lake: Settings) -> None:
    _, identifier = new_table(store_lake, "vitals_by_minute")
    table = fenced(store_lake, identifier)
    table.append_derived(pa.concat_tables([minutes(FIRST, 2), minutes(SECOND, 3)]), {"u": 1})
    table.append_derived(minutes(FIRST, 4), {"u": 1})
    table.append_derived(minutes(FIRST, 1), {"u": 2}, FIRST)
    head = loaded(store_lake, identifier)
    assert head.scan().to_arrow().num_rows == 4
    assert duckdb_count(store_lake, head) == 4
    table.append_derived(minutes(FIRST, 0), {"u": 3}, FIRST)
    assert loaded(store_lake, identifier).scan().to_arrow().num_rows == 3


def test_a_replaced_day_is_planned_again_on_a_conflict(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake, "vitals_by_minute")
    table, other = fenced(folder_lake, identifier), fenced(folder_lake, identifier)
    table.append_derived(minutes(FIRST, 3), {"u": 1}, FIRST)
    Answers(
        table._session._catalog, before=once(lambda: other.append_derived(minutes(FIRST, 7), {"u": 1}, FIRST) and None)
    )
    assert table.append_derived(minutes(FIRST, 5), {"u": 2}, FIRST).attempts == 2
    assert loaded(folder_lake, identifier).scan().to_arrow().num_rows == 5


def test_rows_of_another_day_do_not_replace_a_day(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake, "vitals_by_minute")
    with pytest.raises(ValueError, match="another day"):
        fenced(folder_lake, identifier).append_derived(minutes(SECOND, 5), {"u": 2}, FIRST)


def test_who_is_erased_while_rows_are_derived_is_in_no_commit_and_no_object(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake, "vitals_by_minute")
    rows = pa.concat_tables([minutes(FIRST, 3), minutes(FIRST, 2)])
    people = pa.array(["gone"] * 3 + ["there"] * 2)
    rows = rows.set_column(rows.column_names.index("subject_token"), "subject_token", people)
    asked: list[set[str]] = []

    def erased(tokens: Iterable[str]) -> set[str]:
        """Nobody as yet when it is first asked, which is before anything is staged."""
        asked.append(set(tokens))
        return asked[-1] & {"gone"} if len(asked) > 1 else set()

    receipt = fenced(folder_lake, identifier, erased=erased).append_derived(rows, {"u": 1}, FIRST)
    assert asked == [{"gone", "there"}, {"gone", "there"}, {"there"}], "before staging, after it, and of what is left"
    table = loaded(folder_lake, identifier)
    assert (receipt.rows, table.scan().to_arrow()["subject_token"].to_pylist()) == (2, ["there"] * 2)
    assert len(list(Path(urlsplit(table.location()).path).rglob("*.parquet"))) == 1


def test_a_derived_commit_carries_the_vector(folder_lake: Settings) -> None:
    table, identifier = started(folder_lake)
    table.commit(readings(0, 5), [interval(0, 5)])
    day = datetime.fromtimestamp(NOON / 1e6, UTC).date()
    receipt = fenced(folder_lake, identifier).append_derived(readings(0, 5), {"u": 1}, day)
    assert receipt.vector == {TOPIC: {0: 5, 1: 0}}
    assert "wardstream.offsets" in loaded(folder_lake, identifier).current_snapshot().summary.additional_properties
    assert positions(folder_lake) == each_once(0, 5)


def test_a_derived_append_that_landed_unanswered_is_not_repeated(lake: Settings) -> None:
    _, identifier = new_table(lake, "vitals_by_minute")
    table = fenced(lake, identifier)
    for answer in ("before", "after"):
        Answers(table._session._catalog, **{answer: once(lost_answer)})
        table.append_derived(minutes(FIRST, 5), {"u": 2})
    assert loaded(lake, identifier).scan().to_arrow().num_rows == 10


def test_a_derived_append_nobody_can_tell_about_is_not_repeated(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake, "vitals_by_minute")
    table, other = (fenced(folder_lake, identifier, kept_snapshots=2) for _ in range(2))
    table.append_derived(minutes(FIRST, 1), {"u": 1})

    def others_go_on_and_the_answer_is_lost() -> None:
        for _ in range(4):
            other.append_derived(minutes(SECOND, 1), {"u": 1})
        lost_answer()

    Answers(table._session._catalog, after=once(others_go_on_and_the_answer_is_lost))
    with pytest.raises(OutcomeUnknownError):
        table.append_derived(minutes(FIRST, 1), {"u": 1})
    assert loaded(folder_lake, identifier).scan().to_arrow().num_rows == 6


def test_a_conflict_is_not_mistaken_for_an_unknown_outcome(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake, "vitals_by_minute")
    table = fenced(folder_lake, identifier)

    def conflict() -> None:
        raise CommitFailedException("somebody was first")

    answers = Answers(table._session._catalog, before=once(conflict))
    table.append_derived(minutes(FIRST, 1), {"u": 1})
    assert answers.asked == 2


def live(settings: Settings, identifier: Identifier) -> tuple[Table, list[LiveFile]]:
    """The table as it is, and its files."""
    table = loaded(settings, identifier)
    return table, live_files(Head(table, manifests_of(table)), table.io)


def test_replaced_files_leave_rows_vector_sources_and_what_counts_as_news(store_lake: Settings) -> None:
    _, identifier = new_table(store_lake)
    table = fenced(store_lake, identifier)
    table.establish(TOPIC, {0: 0})
    for start in range(0, 40, 10):
        table.commit(readings(start, start + 10), [interval(start, start + 10)])
    head, files = live(store_lake, identifier)
    reached = files[0].sequence
    seen = max(file.sequence for file in files[1:])
    merged = stage(head, readings(0, 30), head.io)
    old = sorted(files, key=lambda f: f.sequence)[:3]
    table.replace_files(old, merged, {"wardstream.upkeep": "test"})
    table.commit(readings(40, 50), [interval(40, 50)])
    after, now = live(store_lake, identifier)
    assert positions(store_lake) == each_once(0, 50)
    assert duckdb_count(store_lake, after) == 50
    assert len(now) == 3
    assert vector_of(after.metadata) == {TOPIC: {0: 50}}
    assert changes_since(after, max(seen, reached)).rows == {date(2026, 3, 1): 10}
    assert min(file.sequence for file in now) == old[-1].sequence


def test_files_are_replaced_beside_an_ingest_that_came_first(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table, other = fenced(folder_lake, identifier), fenced(folder_lake, identifier)
    table.establish(TOPIC, {0: 0})
    table.commit(readings(0, 10), [interval(0, 10)])
    head, files = live(folder_lake, identifier)
    staged = stage(head, readings(0, 10), head.io)
    ingest = once(lambda: other.commit(readings(10, 20), [interval(10, 20)]) and None)
    Answers(table._session._catalog, before=ingest)
    assert table.replace_files(files, staged, {}).attempts == 2
    assert positions(folder_lake) == each_once(0, 20)


def test_files_that_somebody_replaced_first_are_not_replaced_again(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table = fenced(folder_lake, identifier)
    table.establish(TOPIC, {0: 0})
    table.commit(readings(0, 10), [interval(0, 10)])
    head, files = live(folder_lake, identifier)
    table.replace_files(files, stage(head, readings(0, 10), head.io), {})
    with pytest.raises(FilesChangedError):
        table.replace_files(files, stage(head, readings(0, 10), head.io), {})
    assert positions(folder_lake) == each_once(0, 10)


def test_files_are_not_replaced_by_fewer_rows_than_meant(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table = fenced(folder_lake, identifier)
    table.establish(TOPIC, {0: 0})
    table.commit(readings(0, 10), [interval(0, 10)])
    head, files = live(folder_lake, identifier)
    with pytest.raises(ValueError, match="1 rows would go, 0 are meant to"):
        table.replace_files(files, stage(head, readings(0, 9), head.io), {})
    table.replace_files(files, stage(head, readings(0, 9), head.io), {}, fewer_rows=1)
    assert positions(folder_lake) == each_once(0, 9)


def test_files_that_left_come_back_once(folder_lake: Settings) -> None:
    _, identifier = new_table(folder_lake)
    table, again = fenced(folder_lake, identifier), fenced(folder_lake, identifier)
    table.establish(TOPIC, {0: 0})
    table.commit(readings(0, 10), [interval(0, 10)])
    head, files = live(folder_lake, identifier)
    table.replace_files(files, stage(head, no_rows(), head.io), {}, fewer_rows=10)
    table.commit(readings(10, 20), [interval(10, 20)])
    assert positions(folder_lake) == each_once(10, 20)
    table.restore_files(files, {})
    assert again.restore_files(files, {}).snapshot_id is None
    assert positions(folder_lake) == each_once(0, 20)
    assert again.vector() == {TOPIC: {0: 20}}
