"""A catalog in memory: tables, the compare-and-swap, and what others do to a table (upkeep, engines, operators).

Holds: requirements checked as pyiceberg checks them, updates applied, requests that act late or whose answer is lost,
the two kinds of catalog the product tells apart, and three ways of acting wrongly, for tests of the simulation itself.
Does not hold: which request meets which fate (machine.py), nor any judgement (judge.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.refs import MAIN_BRANCH, SnapshotRef, SnapshotRefType
from pyiceberg.table.snapshots import MetadataLogEntry, Operation, Snapshot, Summary
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import AddSnapshotUpdate, RemoveSnapshotsUpdate, SetPropertiesUpdate, SetSnapshotRefUpdate
from pyiceberg.transforms import DayTransform
from pyiceberg.types import IntegerType, LongType, NestedField, StringType, TimestamptzType

from tests.simulation.store import SimulatedIO, Store
from tests.simulation.turns import OK, Turns

SCHEMA = Schema(
    NestedField(1, "event_id", StringType(), required=True),
    NestedField(2, "first_offset", LongType()),
    NestedField(3, "topic_id", StringType(), required=True),
    NestedField(4, "kafka_partition", IntegerType(), required=True),
    NestedField(5, "kafka_offset", LongType(), required=True),
    NestedField(6, "kafka_time", TimestamptzType(), required=True),
)
SPEC = PartitionSpec(PartitionField(6, 1000, DayTransform(), "kafka_time_day"))
NAMESPACE = "simulated"
LOGGED = 20
"""Metadata files that a table remembers."""
VECTOR = "wardstream.offsets"


@dataclass(frozen=True, slots=True)
class State:
    """A table at one moment. `rollbacks`: how often its history was turned back until now."""

    metadata: TableMetadata
    location: str
    version: int
    rollbacks: int = 0


@dataclass(frozen=True, slots=True)
class Landing:
    """A snapshot that became a table's head. `by`: "writer" for the product's own commits, else who it was."""

    table: str
    before: TableMetadata
    after: TableMetadata
    by: str

    @property
    def snapshot(self) -> Snapshot:
        head = self.after.current_snapshot()
        assert head is not None, "a landing has a head"
        return head


@dataclass(slots=True)
class Faults:
    """How this catalog acts wrongly; all off in an honest one."""

    accepts_stale: bool = False
    forgets: int = 0
    stale_reads: bool = False


class Tables:
    """What all faces of the catalog share."""

    def __init__(
        self,
        turns: Turns,
        store: Store,
        fail: Callable[[], Exception],
        on_landing: Callable[[Landing], None],
    ) -> None:
        self.turns, self.store, self.fail, self._on_landing = turns, store, fail, on_landing
        self.states: dict[str, State] = {}
        self.earlier: dict[str, State] = {}
        self.late: list[Callable[[], Any]] = []
        self.faults = Faults()
        self.served_stale = False
        self.io = SimulatedIO(store)
        self.quiet_io = SimulatedIO(store.quiet())

    def create(self, name: str) -> None:
        """A table of that name, without a snapshot; another one if there was one."""
        location = f"sim://lake/{name}-{uuid.uuid4()}"
        properties = {"write.metadata.previous-versions-max": str(LOGGED), "commit.retry.num-retries": "0"}
        metadata = new_table_metadata(SCHEMA, SPEC, UNSORTED_SORT_ORDER, location, properties, uuid.uuid4())
        metadata = metadata.model_copy(update={"last_updated_ms": 0})
        self.states[name] = State(metadata, self._written(metadata, 0), 0)
        self.earlier.pop(name, None)

    def snapshot_of(self, name: str) -> State:
        if self.faults.stale_reads and name in self.earlier:
            self.served_stale = True
            return self.earlier[name]
        return self.states[name]

    def swap(self, name: str, requirements: tuple, updates: tuple, based_on: str | None = None) -> State:
        """The act itself: check and change in one moment. Raises `CommitFailedException`."""
        state = self.states[name]
        if based_on not in (None, state.location):
            raise CommitFailedException("the table has been updated by another process")
        if not self.faults.accepts_stale:
            for requirement in requirements:
                requirement.validate(state.metadata)
        changed = state.metadata
        for update in updates:
            changed = _applied(changed, update)
        if self.faults.forgets:
            self.faults.forgets -= 1
            return State(changed, state.location, state.version)
        return self.become(name, changed, "writer")

    def become(self, name: str, changed: TableMetadata, by: str, turned_back: bool = False) -> State:
        """Put new metadata in the place of a table's old; tells of a new head."""
        state = self.states[name]
        entry = MetadataLogEntry(metadata_file=state.location, timestamp_ms=state.metadata.last_updated_ms)
        log = [*state.metadata.metadata_log, entry][-LOGGED:]
        after = changed.model_copy(update={"metadata_log": log})
        version = state.version + 1
        self.earlier[name] = state
        back = state.rollbacks + turned_back
        self.states[name] = State(after, self._written(after, version), version, back)
        if after.current_snapshot_id != state.metadata.current_snapshot_id and not turned_back:
            self._on_landing(Landing(name, state.metadata, after, by))
        return self.states[name]

    def _written(self, metadata: TableMetadata, version: int) -> str:
        location = f"{metadata.location}/metadata/{version:05d}-{uuid.uuid4()}.metadata.json"
        self.store.objects[location] = b"{}"
        return location

    # --- what others do

    def roll_back(self, name: str, snapshot_id: int) -> None:
        """The head becomes an older snapshot, as an operator would make it."""
        metadata = self.states[name].metadata
        ref = SnapshotRef(snapshot_id=snapshot_id, snapshot_ref_type=SnapshotRefType.BRANCH)
        update = {"current_snapshot_id": snapshot_id, "refs": {**metadata.refs, MAIN_BRANCH: ref}}
        self.become(name, metadata.model_copy(update=update), "operator", turned_back=True)

    def tag(self, name: str, snapshot_id: int) -> None:
        metadata = self.states[name].metadata
        ref = SnapshotRef(snapshot_id=snapshot_id, snapshot_ref_type=SnapshotRefType.TAG)
        refs = {**metadata.refs, f"tag-{len(metadata.refs)}": ref}
        self.become(name, metadata.model_copy(update={"refs": refs}), "operator")

    def expire(self, name: str, keep: int, carefully: bool = True) -> int:
        """Let old snapshots of the head's line go; how many went. Carefully: none that a vector is read from, nor one
        on the way there."""
        metadata = self.states[name].metadata
        line = list(line_of(metadata))
        kept = {s.snapshot_id for s in line[:keep]} | {ref.snapshot_id for ref in metadata.refs.values()}
        if carefully:
            kept |= {id_ for s in metadata.snapshots if s.snapshot_id in kept for id_ in _until_vector(metadata, s)}
        gone = [s.snapshot_id for s in metadata.snapshots if s.snapshot_id not in kept]
        if gone:
            self.become(name, _without(metadata, gone), "upkeep")
        return len(gone)

    def rewrite(self, name: str, carries_vector: bool) -> None:
        """What a compaction of another engine leaves: a new head that holds the same, with the vector or without."""
        metadata = self.states[name].metadata
        head = metadata.current_snapshot()
        if head is None:
            return
        said = dict(head.summary.additional_properties) if head.summary else {}
        if not carries_vector:
            said.pop(VECTOR, None)
        for key in ("wardstream.intervals", "wardstream.commit-id", "added-records", "added-data-files"):
            said.pop(key, None)
        snapshot = Snapshot(
            snapshot_id=metadata.new_snapshot_id(),
            parent_snapshot_id=head.snapshot_id,
            sequence_number=metadata.next_sequence_number(),
            timestamp_ms=metadata.last_updated_ms,
            manifest_list=head.manifest_list,
            summary=Summary(operation=Operation.REPLACE, **said),
            schema_id=metadata.current_schema_id,
        )
        self.become(name, _added(metadata, snapshot), "engine")


class RestLike(NoopCatalog):
    """One request a commit, decided by the server in one moment."""

    def __init__(self, tables: Tables) -> None:
        super().__init__("simulated")
        self._tables = tables

    def load_table(self, identifier: Any) -> Table:
        answer = self._tables.turns.ask("load")
        if answer == "torn":
            raise ValueError("half of a document")
        if answer != OK:
            raise self._tables.fail()
        if identifier[-1] not in self._tables.states:
            raise NoSuchTableError("no such table")
        state = self._tables.snapshot_of(identifier[-1])
        return Table(tuple(identifier), state.metadata, state.location, self._tables.io, self)

    def commit_table(self, table: Table, requirements: tuple, updates: tuple) -> CommitTableResponse:
        tables, name = self._tables, table.name()[-1]
        answer = tables.turns.ask("swap")
        if answer == "lost before":
            raise tables.fail()
        if answer == "late":
            tables.late.append(lambda: tables.swap(name, requirements, updates))
            raise tables.fail()
        state = self._decided(name, requirements, updates, answer)
        if answer == "lost after":
            raise tables.fail()
        if answer == "conflict after acting":
            raise CommitFailedException("sent twice on the way, and the second one met the first")
        tables.turns.ask("answer")
        return CommitTableResponse(metadata=state.metadata, metadata_location=state.location)

    def _decided(self, name: str, requirements: tuple, updates: tuple, answer: str) -> State:
        return self._tables.swap(name, requirements, updates)


class MetastoreLike(RestLike, MetastoreCatalog):
    """The client checks and writes, then swaps one pointer: pyiceberg's catalogs on SQL work so."""

    def _decided(self, name: str, requirements: tuple, updates: tuple, answer: str) -> State:
        state = self._tables.states[name]
        if not self._tables.faults.accepts_stale:
            for requirement in requirements:
                requirement.validate(state.metadata)
        self._tables.turns.ask("pointer")
        based_on = None if self._tables.faults.accepts_stale else state.location
        return self._tables.swap(name, requirements, updates, based_on)


def line_of(metadata: TableMetadata) -> Iterator[Snapshot]:
    """The head and its ancestors, as far as they are there."""
    by_id = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    at = by_id.get(metadata.current_snapshot_id or 0)
    while at is not None:
        yield at
        at = by_id.get(at.parent_snapshot_id or 0)


def said(snapshot: Snapshot, key: str) -> str | None:
    """A key of a snapshot's summary."""
    return None if snapshot.summary is None else snapshot.summary.additional_properties.get(key)


def _until_vector(metadata: TableMetadata, snapshot: Snapshot) -> list[int]:
    """The ids of a snapshot's line down to the first that says a vector."""
    line = list(line_of(metadata.model_copy(update={"current_snapshot_id": snapshot.snapshot_id})))
    ends = [n for n, s in enumerate(line, 1) if said(s, VECTOR) is not None]
    return [s.snapshot_id for s in line[: ends[0]]] if ends else []


def _added(metadata: TableMetadata, snapshot: Snapshot) -> TableMetadata:
    ref = SnapshotRef(snapshot_id=snapshot.snapshot_id, snapshot_ref_type=SnapshotRefType.BRANCH)
    return metadata.model_copy(
        update={
            "snapshots": [*metadata.snapshots, snapshot],
            "last_sequence_number": snapshot.sequence_number,
            "last_updated_ms": snapshot.timestamp_ms,
            "current_snapshot_id": snapshot.snapshot_id,
            "refs": {**metadata.refs, MAIN_BRANCH: ref},
        }
    )


def _without(metadata: TableMetadata, gone: list[int]) -> TableMetadata:
    kept = [
        s.model_copy(update={"parent_snapshot_id": None}) if s.parent_snapshot_id in gone else s
        for s in metadata.snapshots
        if s.snapshot_id not in gone
    ]
    refs = {name: ref for name, ref in metadata.refs.items() if ref.snapshot_id not in gone}
    return metadata.model_copy(update={"snapshots": kept, "refs": refs})


def _check_order(metadata: TableMetadata, snapshot: Snapshot) -> None:
    """As pyiceberg and Iceberg's own server do: a head that went and came back is not the same table."""
    number, last = snapshot.sequence_number or 0, metadata.last_sequence_number
    if number <= last and snapshot.parent_snapshot_id is not None:
        raise ValueError(f"snapshot with sequence number {number} on a table at {last}")


def _applied(metadata: TableMetadata, update: Any) -> TableMetadata:
    if isinstance(update, AddSnapshotUpdate):
        _check_order(metadata, update.snapshot)
        return _added(metadata, update.snapshot)
    if isinstance(update, RemoveSnapshotsUpdate):
        return _without(metadata, update.snapshot_ids)
    if isinstance(update, SetPropertiesUpdate):
        return metadata.model_copy(update={"properties": {**metadata.properties, **update.updates}})
    assert isinstance(update, SetSnapshotRefUpdate), "the committer makes no other updates"
    assert update.snapshot_id == metadata.current_snapshot_id, "the new snapshot becomes the head"
    return metadata
