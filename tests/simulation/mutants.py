"""Builds of the product that are broken on purpose, each as somebody might have written it; the simulation must see it.

Holds: what is broken in each, as stand-ins for parts of the product while a world runs.
Does not hold: the proof that they are caught (test_simulation.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update import AssertRefSnapshotId

from pipelines import restore
from tests.simulation.broker import STREAM
from tests.simulation.catalog import RestLike
from tests.simulation.world import StandIns, World
from warehouse import commit, drafts, snapshots, table_session
from warehouse.offsets import Placement
from warehouse.staging import StagedFiles
from warehouse.sweep_objects import SweepList
from warehouse.upkeep import sweep


def without_the_place_check(world: World) -> StandIns:
    """Whatever is offered is appended."""

    def accept(vector: Any, intervals: Any) -> list[Placement]:
        return [Placement(interval, "accept", interval.start) for interval in intervals]

    def advanced(vector: Any, intervals: Any) -> Any:
        result = {topic: dict(partitions) for topic, partitions in vector.items()}
        for interval in intervals:
            result[interval.topic_id][interval.partition] = interval.end
        return result

    return [(drafts, "place", accept), (drafts, "advanced", advanced)]


def with_a_library_s_retry(world: World) -> StandIns:
    """A conflict moves the same append onto the new head, as libraries do."""
    return [(commit._Landing, "_try_once", _resending(lambda error: isinstance(error, CommitFailedException)))]


def with_unknown_taken_for_failed(world: World) -> StandIns:
    """After an answer that did not come the same append is sent again as a new commit, without looking."""
    return [(commit._Landing, "_try_once", _resending(lambda error: isinstance(error, table_session.TRANSIENT)))]


def _resending(again: Callable[[Exception], bool]) -> Callable[[Any], None]:
    def try_once(landing: Any) -> None:
        landing.head = landing._session.head()
        draft = getattr(landing, "draft_sent", None) or landing._plan(landing.head)
        if draft is None:
            return
        prepared = landing._session.prepare(landing.head, draft)
        landing.attempts += 1
        try:
            landing.head = landing._session.swap(landing.head, prepared)
        except Exception as error:
            landing.draft_sent = draft if again(error) else None
            raise
        landing.draft, landing.snapshot_id = draft, prepared.snapshot.snapshot_id

    return try_once


class SeenSet:
    """What was seen before is a duplicate, wherever it stands: no positions are kept."""

    def __init__(self, *bounds: object) -> None:
        self._seen: set[str] = set()

    def first_offsets(self, event_ids: pa.Array, partitions: Any, offsets: np.ndarray, kafka_ms: Any) -> np.ndarray:
        first = np.array(offsets, np.int64)
        for at, (event, partition) in enumerate(zip(event_ids.to_pylist(), partitions, strict=True)):
            if (event, int(partition)) in self._seen:
                first[at] = -1
            self._seen.add((event, int(partition)))
        return first

    def restore(self, event_ids: Any, partitions: Any, offsets: Any, kafka_times: Any) -> None:
        self._seen.update(zip(event_ids.to_pylist(), partitions.to_pylist(), strict=True))


def with_a_seen_set(world: World) -> StandIns:
    """Of everything the table of rows has: a set needs no position to be restored from."""

    def all_of_it(analytics: World, table: str, key: str, topic_id: str, *_: Any) -> pa.Table:
        sql = f"SELECT {key} AS event_id, kafka_partition, kafka_offset, kafka_time FROM {table} WHERE topic_id = $t"
        return analytics.query(sql, {"t": topic_id}).table

    return [
        (restore, "FirstPositions", SeenSet),
        (restore.history, "identities_below", all_of_it),
        (restore.KnownOutcomes, "applied", lambda known, partitions, offsets, first: first),
    ]


def from_the_consumer_group(world: World) -> StandIns:
    """A start goes on where the consumer group stood: what was read, not what was committed."""
    starts_of = restore.Restorer.starts

    def starts(restorer: restore.Restorer, facts: dict) -> restore.Starts:
        found = starts_of(restorer, facts)
        group = world.broker.group if facts[STREAM].topic_id == "topic-1" else {}
        return {s: {p: group.get((s, p), offset) for p, offset in found[s].items()} for s in found}

    return [(restore.Restorer, "starts", starts)]


def with_the_vector_left_behind(world: World) -> StandIns:
    """Who commits without positions does not carry the table's vector."""
    plan = drafts.Derived.plan

    def without(derived: Any, head: Any) -> Any:
        draft = plan(derived, head)
        return replace(draft, summary={k: v for k, v in draft.summary.items() if k != drafts.OFFSETS})

    return [(drafts.Derived, "plan", without)]


def without_the_unchanged_head(world: World) -> StandIns:
    """The commit does not require the head that it was planned on."""
    swap_request = table_session.swap_request

    def lax(*given: Any) -> Any:
        requirements, updates = swap_request(*given)
        return tuple(r for r in requirements if not isinstance(r, AssertRefSnapshotId)), updates

    return [(table_session, "swap_request", lax)]


def with_old_heads_believed(world: World) -> StandIns:
    """A head from an earlier call counts as just loaded."""
    return [(table_session.TableSession, "head", lambda session: session._head or session.load())]


def with_half_a_file_believed(world: World) -> StandIns:
    """A manifest that came short is taken for a whole one."""

    def some(table: Any) -> Any:
        snapshot = table.current_snapshot()
        return tuple(snapshot.manifests(table.io)) if snapshot else ()

    return [
        (table_session, "manifests_of", some),
        (snapshots, "entries_of", lambda manifest, io: manifest.fetch_manifest_entry(io)),
    ]


def with_the_way_to_a_vector_let_go(world: World) -> StandIns:
    """Of what a kept snapshot without a vector relies on only the one that says it stays, not those in between."""
    way = snapshots._way_to_vector
    return [(snapshots, "_way_to_vector", lambda snapshot, by_id: way(snapshot, by_id)[-1:])]


def with_files_kept_over_a_sweep(world: World) -> StandIns:
    """Who staged files before a sweep puts them into the table after it."""

    def fits(files: StagedFiles, table: Any) -> bool:
        return (files.schema_id, files.spec_id) == (table.metadata.current_schema_id, table.metadata.default_spec_id)

    return [(StagedFiles, "fits", fits)]


def without_a_sweep_s_fence(world: World) -> StandIns:
    """What was marked and is named by nobody is deleted, whatever a writer that stands still is about to do."""

    def at_once(fenced: Any, table: Any, marked: SweepList, *_: Any) -> sweep.SweepReceipt:
        return sweep._finish(table, marked, len(marked.objects), lambda step: None)

    return [(sweep, "sweep", at_once)]


def on_a_catalog_that_takes_stale_heads(world: World) -> StandIns:
    """Not the product but the catalog is broken: it lets the last writer win."""
    world.tables.faults.accepts_stale = True
    return []


def on_a_catalog_that_forgets(world: World) -> StandIns:
    """The catalog answers well and forgets."""
    swap = RestLike.commit_table

    def forgetful(face: RestLike, *request: Any) -> Any:
        world.tables.faults.forgets = int(world.steps % 50 == 7)
        return swap(face, *request)

    return [(RestLike, "commit_table", forgetful)]


MUTANTS: dict[str, Callable[[World], StandIns]] = {
    name.replace("_", " "): mutant
    for name, mutant in list(globals().items())
    if name.startswith(("with_", "without_", "from_", "on_"))
}
