"""The judgement: what must be in the tables, worked out from the log alone, and what may never happen on the way.

Holds: where each position belongs (row, reject, duplicate), checks of each landing, of each death, and of the end.
It shares no arithmetic with the product: it reads summaries as text and files as they lie in the store.
Does not hold: anything that acts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from tests.simulation.broker import BAD, Broker, Log, Topic
from tests.simulation.catalog import VECTOR, Landing, Tables, line_of, said
from tests.simulation.process import DERIVED, DUPLICATES, HORIZON_S, INGESTED, REJECTS, ROWS, Derivation, Process
from tests.simulation.store import Store, Torn, data_rows
from tests.simulation.turns import Turns

INTERVALS, SOURCES = "wardstream.intervals", "wardstream.sources"

Positions = dict[tuple[str, int], int]
"""(topic id, partition) -> next offset"""


class Wrong(AssertionError):
    """Something happened that must not."""


def _kept(check: Callable[..., None]) -> Callable[..., None]:
    """These checks run inside the product's calls, which might take what they raise for a fault of store or catalog:
    so it is kept as well."""

    @wraps(check)
    def kept(judge: Judge, *given: Any) -> None:
        try:
            check(judge, *given)
        except Exception as error:
            judge.wrong = judge.wrong or error
            raise

    return kept


@dataclass(slots=True)
class Fold:
    """Where the messages of one partition belong, worked out as far as `reached`: first come, first kept."""

    reached: int
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    places: dict[int, tuple[str, str, int | None]] = field(default_factory=dict)

    def extend(self, log: Log, horizon_s: int) -> None:
        for offset in range(self.reached, log.high):
            if offset in log.ever:
                message = log.ever[offset]
                self.places[offset] = self._place(offset, message.event, message.at_ms // 1000, horizon_s)
        self.reached = max(self.reached, log.high)

    def _place(self, offset: int, event: str, second: int, horizon_s: int) -> tuple[str, str, int | None]:
        if event == BAD:
            return REJECTS, event, None
        first = self.known.get(event)
        if first is not None and second - first[1] < horizon_s:
            return DUPLICATES, event, first[0]
        self.known[event] = (offset, second)
        return ROWS, event, None


class Judge:
    """Watches one world. Every check raises `Wrong`."""

    def __init__(self, broker: Broker, turns: Turns, store: Store) -> None:
        self._broker, self._turns, self._store = broker, turns, store
        self.tables: Tables
        self.wrong: Exception | None = None
        self._folds: dict[tuple[str, int], Fold] = {}
        self._starts: dict[tuple[str, str, int], int] = {}
        self._highest: dict[str, Positions] = {name: {} for name in INGESTED}
        self._derivations: dict[str, Derivation] = {}
        self._landed: Counter[str] = Counter()
        self._derived: list[str] = []
        self._answered: set[str] = set()
        self.rollbacks = self.retentions = self.vectors_lost = self.landings = 0
        self.compared = self.lost = self.doubled = 0

    # --- on the way

    @_kept
    def landed(self, landing: Landing) -> None:
        """Called in the moment in which a table gets a new head."""
        self.landings += 1
        if landing.by == "writer":
            self._check_metadata(landing)
        if landing.table == DERIVED:
            return self._landed_derived(landing)
        if landing.by == "writer":
            self._landed.update(json.loads(said(landing.snapshot, SOURCES) or "{}").keys())
        if landing.by == "engine" and self.vectors_lost:
            return None
        before, after = vector(landing.before) or {}, vector(landing.after)
        if after is None and not before and self.vectors_lost:
            return None
        if after is None:
            raise Wrong(f"{landing.table}: a head without a vector in its line")
        if any(after.get(at, -1) < offset for at, offset in before.items()):
            raise Wrong(f"{landing.table}: committed positions disappeared")
        if landing.by != "writer":
            return None
        if said(landing.snapshot, VECTOR) is None:
            raise Wrong(f"{landing.table}: a commit of ours does not carry the vector")
        self._check_intervals(landing, before, after)
        high = self._highest[landing.table]
        high.update({at: max(offset, high.get(at, 0)) for at, offset in after.items()})
        return None

    def _check_metadata(self, landing: Landing) -> None:
        head, before = landing.snapshot, landing.before.current_snapshot()
        if head.parent_snapshot_id != (before.snapshot_id if before else None):
            raise Wrong(f"{landing.table}: a commit was put on a head that its writer did not see")
        if head.timestamp_ms < landing.before.last_updated_ms:
            raise Wrong(f"{landing.table}: the table's time runs backwards")
        kept = {snapshot.snapshot_id for snapshot in landing.after.snapshots}
        if any(ref.snapshot_id not in kept for ref in landing.before.refs.values() if ref.snapshot_ref_type == "tag"):
            raise Wrong(f"{landing.table}: a tagged snapshot was let go")
        stayed = [s for s in landing.before.snapshots if s.snapshot_id in kept]
        if len(stayed) < len(landing.before.snapshots) and any(
            vector_at(landing.before, snapshot) != vector_at(landing.after, snapshot) for snapshot in stayed
        ):
            raise Wrong(f"{landing.table}: a kept snapshot lost the vector that its line had")
        if isinstance(self._store.objects.get(head.manifest_list, Torn(None)), Torn):
            raise Wrong(f"{landing.table}: the head's manifest list is not in the store")

    def _check_intervals(self, landing: Landing, before: Positions, after: Positions) -> None:
        intervals = json.loads(said(landing.snapshot, INTERVALS) or "[]")
        moved, least, most = dict(before), 0, 0
        for topic_id, partition, start, end in intervals:
            if moved.get((topic_id, partition)) != start:
                raise Wrong(f"{landing.table}: [{start}, {end}) put where {moved.get((topic_id, partition))} is next")
            moved[topic_id, partition] = end
            sure, maybe = self._belonging(landing.table, topic_id, partition, start, end)
            least, most = least + len(sure), most + len(sure) + len(maybe)
        for at in set(after) - set(moved):
            moved[at] = after[at]
            self._starts[landing.table, *at] = after[at]
            self._folds.setdefault(at, Fold(after[at]))
        if moved != after:
            raise Wrong(f"{landing.table}: vector and intervals of a commit contradict each other")
        added = int(said(landing.snapshot, "added-records") or 0)
        if not least <= added <= most:
            raise Wrong(f"{landing.table}: a commit adds {added} rows, its positions hold {least} to {most}")

    def _belonging(self, table: str, topic_id: str, partition: int, start: int, end: int) -> tuple[set[int], set[int]]:
        """Offsets of [start, end) that the table must have, and those it may have: compacted away, perhaps unread."""
        log = self._broker.past[topic_id].partitions[partition]
        fold = self._folds[topic_id, partition]
        fold.extend(log, HORIZON_S)
        start = max(start, self._starts[table, topic_id, partition])
        mine = {o for o in range(start, end) if o in fold.places and fold.places[o][0] == table}
        unsure = {o for o in mine if o in log.compacted}
        return mine - unsure, unsure

    @_kept
    def acknowledged(self, table: str, reached: Mapping[str, Mapping[int, int]]) -> None:
        """A writer was told that its commit is in: it must have been."""
        high = self._highest[table]
        for topic_id, partitions in reached.items():
            for partition, offset in partitions.items():
                if offset > high.get((topic_id, partition), -1):
                    raise Wrong(f"{table}: a commit was acknowledged that never became part of the table")

    def check_table(self, name: str) -> None:
        """What the catalog names lies in the store, whole."""
        state = self.tables.states[name]
        if state.location not in self._store.objects:
            raise Wrong(f"{name}: the current metadata file is gone")
        for snapshot in state.metadata.snapshots:
            if isinstance(self._store.objects.get(snapshot.manifest_list, Torn(None)), Torn):
                raise Wrong(f"{name}: a manifest list of a kept snapshot is gone")

    # --- deaths

    def died(self, process: Process, error: BaseException) -> str:
        """Whether the process had the right to stop by this error; why, in a word."""
        kind = type(error).__name__
        if kind in ("GapError", "SourceError") and self._overtaken():
            return f"{kind}: retention overtook"
        if kind == "SourceError" and self.retentions > process.began_after[1]:
            return f"{kind}: retention overtook a reader behind the tables"
        if kind == "SourceError" and len(self._broker.past) > 1:
            return f"{kind}: topic recreated"
        if kind in ("GapError", "RolledBackError") and self.rollbacks > process.began_after[0]:
            return f"{kind}: table rolled back"
        topics = self._broker.past.values()  # it may have looked at one that was made anew since
        if kind in ("PartitionAddedError", "VectorMissingError") and any(map(self._partitions_added, topics)):
            return f"{kind}: partition added"
        if kind == "VectorMissingError" and self._without_vector():
            return f"{kind}: vector lost"
        if kind == "GapError" and self._without_vector():
            return f"{kind}: vector lost"
        if kind in ("GapError", "VectorMissingError") and self.tables.served_stale:
            return f"{kind}: stale read"
        raise Wrong(f"{process.name} stopped without a reason: {kind}: {error}") from error

    def _overtaken(self) -> bool:
        """Whether a log begins above a table's vector: of this topic, or of one that bore its name."""
        vectors = [v for name in INGESTED if (v := vector(self.tables.states[name].metadata))]
        logs = [(topic.id, p, log) for topic in self._broker.past.values() for p, log in enumerate(topic.partitions)]
        return any(v.get((topic_id, p), log.low) < log.low for v in vectors for topic_id, p, log in logs)

    def _partitions_added(self, topic: Topic) -> bool:
        known = [vector(self.tables.states[name].metadata) or {} for name in INGESTED]
        return any(0 < sum(at[0] == topic.id for at in positions) < len(topic.partitions) for positions in known)

    def _without_vector(self) -> bool:
        states = [self.tables.states[name].metadata for name in INGESTED] if self.vectors_lost else []
        return any(metadata.snapshots and vector(metadata) is None for metadata in states)

    def may_stop(self) -> str:
        """Why the site may stand still for good; empty where it may not."""
        if self._overtaken():
            return "retention overtook"
        if self._partitions_added(self._broker.topic):
            return "partition added"
        return "vector lost" if self._without_vector() else ""

    @property
    def disturbances(self) -> tuple[int, int]:
        """Rollbacks and retentions until now: what happened after a process began may end it."""
        return self.rollbacks, self.retentions

    # --- derived tables

    def is_started(self, table: str) -> bool:
        """Whether a vector stands in it."""
        return vector(self.tables.states[table].metadata) is not None

    def derives(self, derivation: Derivation) -> None:
        self._derivations[derivation.id] = derivation

    @_kept
    def derived(self, derivation: Derivation) -> None:
        """Its caller was told that it is in."""
        self._answered.add(derivation.id)
        if not self._landed[derivation.id]:
            raise Wrong(f"{derivation.table}: a derived commit was acknowledged and is not in")

    def _landed_derived(self, landing: Landing) -> None:
        (id_,) = json.loads(said(landing.snapshot, SOURCES) or "{}")
        self._landed[id_] += 1
        self._derived.append(id_)
        if self._derivations[id_].day is None and self._landed[id_] > 1:
            raise Wrong("derived: one append landed twice")

    # --- the end

    def done(self) -> bool:
        """Whether every table has every message that is still in the log, by its vector."""
        topic = self._broker.topic
        vectors = [vector(self.tables.states[name].metadata) or {} for name in INGESTED]
        return all(v.get((topic.id, p), -1) >= log.high for v in vectors for p, log in enumerate(topic.partitions))

    def final(self) -> None:
        """Compare the tables' content with the log, position by position: `compared` rows, `lost`, `doubled`."""
        for name in INGESTED:
            self.check_table(name)
            self._final_ingested(name)
        self._final_derived()

    def _final_ingested(self, name: str) -> None:
        metadata = self.tables.states[name].metadata
        reached = vector(metadata) or {}
        found: Counter[tuple[str, int, int]] = Counter()
        for rows in self._files(metadata):
            self._check_order(name, rows)
            for row in rows:
                at = row["topic_id"], row["kafka_partition"], row["kafka_offset"]
                found[at] += 1
                place = self._folds[at[:2]].places.get(at[2])
                if place != (name, row["event_id"], row["first_offset"]):
                    raise Wrong(f"{name}: position {at} holds what belongs elsewhere: {place}")
        self.compared += found.total()
        self.doubled += found.total() - len(found)
        for at, times in found.items():
            if times > 1:
                raise Wrong(f"{name}: position {at} is in {times} times")
            if at[2] >= reached.get(at[:2], 0) and reached:
                raise Wrong(f"{name}: position {at} lies beyond the vector")
        self._check_complete(name, reached, found)

    def _check_complete(self, name: str, reached: Positions, found: Counter) -> None:
        for (topic_id, partition), end in reached.items():
            sure, _ = self._belonging(name, topic_id, partition, 0, end)
            lost = [offset for offset in sure if not found[topic_id, partition, offset]]
            self.lost += len(lost)
            if lost:
                raise Wrong(f"{name}: {len(lost)} positions below the vector are lost, first {topic_id} {min(lost)}")

    def _check_order(self, name: str, rows: list[dict]) -> None:
        last: Positions = {}
        for row in rows:
            at = row["topic_id"], row["kafka_partition"]
            if row["kafka_offset"] <= last.get(at, -1):
                raise Wrong(f"{name}: a file's positions do not rise")
            last[at] = row["kafka_offset"]

    def _final_derived(self) -> None:
        state = self.tables.states[DERIVED]
        found = Counter(row["event_id"] for rows in self._files(state.metadata) for row in rows)
        replaced: dict[int, str] = {}
        for id_ in self._derived:
            if (day := self._derivations[id_].day) is not None:
                replaced[day] = id_
        standing = [id_ for id_ in self._derived if self._derivations[id_].day is None] + list(replaced.values())
        expected = Counter({id_: self._derivations[id_].rows.num_rows for id_ in standing})
        if found != expected:
            raise Wrong("derived: appended and replaced rows are not those of the commits that landed")
        self.compared += found.total()

    def _files(self, metadata: TableMetadata) -> list[list[dict]]:
        head = metadata.current_snapshot()
        if head is None:
            return []
        io = self.tables.quiet_io
        entries = [entry for manifest in head.manifests(io) for entry in manifest.fetch_manifest_entry(io)]
        return [data_rows(io.store.get(entry.data_file.file_path)).to_pylist() for entry in entries]


def vector(metadata: TableMetadata) -> Positions | None:
    """What the nearest snapshot of the head's line that says one says; None if none does."""
    text = next((value for snapshot in line_of(metadata) if (value := said(snapshot, VECTOR)) is not None), None)
    if text is None:
        return None
    return {(topic, int(p)): offset for topic, parts in json.loads(text).items() for p, offset in parts.items()}


def vector_at(metadata: TableMetadata, snapshot: Snapshot) -> Positions | None:
    """What `vector` would say if this snapshot were the head."""
    return vector(metadata.model_copy(update={"current_snapshot_id": snapshot.snapshot_id}))
