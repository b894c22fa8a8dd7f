"""The ways to break the product: each replaces one decision of it by a plausible wrong one, in this process only.

Holds: what is broken, by its name. Does not hold: the runs (stream_process.py, the tests) or any judgement.
The product has no switch for any of it. Builds are for processes that end, or for pytest's `monkeypatch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from pipelines import restore
from pipelines.restore import Restorer
from pipelines.source import CONSUMER_GROUP, PartitionReader, Positions
from warehouse import history, table_session
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import CommitReceipt, FencedTable
from warehouse.offsets import Interval, advanced, encode_vector, joined, place
from warehouse.row_positions import rows_from
from warehouse.settings import Settings
from warehouse.snapshots import OFFSETS, line_of, vector_of

Patch = Callable[[Any, str, Any], None]
"""(owner, name, value), as of `setattr` or pytest's `monkeypatch.setattr`."""


def library_retries_on(patch: Patch = setattr) -> None:
    """Vector and placement as they should be, but the append is pyiceberg's, with its retries on: it moves what was
    planned on one head to another head, where nobody looks at the vector again."""

    def append(self: FencedTable, rows: pa.Table, intervals: Iterable[Interval]) -> CommitReceipt:
        table = self._session.load().table
        vector = vector_of(table.metadata)
        missing = [r for placement in place(vector, joined(intervals)) if (r := placement.remainder)]
        if not missing:
            return CommitReceipt(None, 0, 0, vector=vector)
        after = advanced(vector, missing)
        rows = rows_from(rows, {(i.topic_id, i.partition): i.start for i in missing})
        table.metadata.properties["commit.retry.num-retries"] = "20"
        table.append(_as_written(rows, table.schema().as_arrow()), {OFFSETS: encode_vector(after)})
        self._session.forget()
        return CommitReceipt(table.metadata.current_snapshot_id, len(rows), 1, vector=after)

    patch(FencedTable, "commit", append)


def _as_written(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The rows in the types that pyiceberg's writer wants, columns that were left out as nulls."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def files_deleted_after_an_unknown_outcome(patch: Patch = setattr) -> None:
    """Whatever went wrong with the swap, the files that it was about are taken back."""
    swap = table_session.TableSession.swap

    def swap_or_delete(self: Any, head: Any, prepared: Any) -> Any:
        try:
            return swap(self, head, prepared)
        except CommitFailedException:
            raise
        except Exception:
            head.table.io.delete(prepared.snapshot.manifest_list)
            raise

    patch(table_session.TableSession, "swap", swap_or_delete)


def an_answer_is_lost(patch: Patch = setattr, table: str = "vitals", nth: int = 1) -> None:
    """No broken build but a fault for one: the n-th commit to a table lands, and nobody is told."""
    ask, asked = SqlCatalog.commit_table, [0]

    def commit_table(self: SqlCatalog, *request: Any) -> Any:
        answer = ask(self, *request)
        asked[0] += request[0].name()[-1] == table
        if asked[0] == nth and request[0].name()[-1] == table:
            raise ConnectionResetError("lost on the way back")
        return answer

    patch(SqlCatalog, "commit_table", commit_table)


def offsets_from_the_consumer_group(patch: Patch = setattr) -> None:
    """What was read is committed to the consumer group, and the next start goes on from there."""
    starts, report = Restorer.starts, PartitionReader.report

    def starts_of_the_group(self: Restorer, facts: Any) -> Any:
        found = starts(self, facts)
        consumer = Consumer(self._settings.kafka(**{"group.id": CONSUMER_GROUP}))
        try:
            for stream, fact in facts.items():
                asked = [TopicPartition(fact.topic, partition) for partition in fact.ranges]
                told = {p.partition: p.offset for p in consumer.committed(asked, timeout=30) if p.offset >= 0}
                found[stream] = {**found[stream], **told}
        finally:
            consumer.close()
        return found

    def report_what_was_read(self: PartitionReader, _: Positions) -> None:
        report(self, self.positions)

    patch(Restorer, "starts", starts_of_the_group)
    patch(PartitionReader, "report", report_what_was_read)


class SeenSet:
    """Which events have been seen, kept in a file from then on; not at which position."""

    def __init__(self, max_ids: int, horizon_seconds: int, key: bytes) -> None:
        self._path = Path(os.environ["WARDSTREAM_HOME"]) / "seen" if max_ids > 1 else Path(os.devnull)
        self._seen = set(self._path.read_text().splitlines()) if self._path.exists() else set()

    def restore(self, *rows_of_the_lake: object) -> None:
        """The set has them already."""

    def first_offsets(
        self, event_ids: pa.Array, partitions: np.ndarray, offsets: np.ndarray, kafka_ms: np.ndarray
    ) -> np.ndarray:
        first = offsets.astype(np.int64)
        names = [f"{p} {e}" for p, e in zip(partitions.tolist(), event_ids.to_pylist(), strict=True)]
        for n, name in enumerate(names):
            if name in self._seen:
                first[n] = -1
            self._seen.add(name)
        with self._path.open("a") as file:
            file.writelines(f"{name}\n" for name in names)
        return first


def a_seen_set_for_first_positions(patch: Patch = setattr) -> None:
    """An event is a duplicate if it was seen before, be it at this very position."""
    patch(restore, "FirstPositions", SeenSet)


def state_from_an_older_snapshot(patch: Patch = setattr) -> None:
    """The rules' state is read from a snapshot of before, and reading goes on from now."""
    readings, alerts = history.readings_below, history.last_alerts_below

    def older_readings(analytics: Any, topic_id: str, starts: Any, *rest: Any) -> pa.Table:
        return readings(analytics, topic_id, _older_vector(topic_id, starts), *rest)

    def older_alerts(analytics: Any, table: str, topic_id: str, starts: Any) -> pa.Table:
        return alerts(analytics, table, topic_id, _older_vector(topic_id, starts))

    patch(history, "readings_below", older_readings)
    patch(history, "last_alerts_below", older_alerts)


def _older_vector(topic_id: str, starts: dict[int, int]) -> dict[int, int]:
    """The vector of the newest snapshot of `vitals` that has no more than 60 % of what was to be started from; `starts`
    for the topic of another table."""
    settings = Settings.from_environment()
    table = load_table(open_catalog(settings), settings.namespace, "vitals")
    if topic_id not in vector_of(table.metadata):
        return starts
    for snapshot in line_of(table.metadata):
        vector = vector_of(table.metadata.model_copy(update={"current_snapshot_id": snapshot.snapshot_id}))[topic_id]
        if sum(vector[partition] for partition in starts) <= 0.6 * sum(starts.values()):
            return {partition: vector[partition] for partition in starts}
    raise LookupError("vitals has no snapshot that is old enough")


def compact_with_pyiceberg(settings: Settings, carrying: bool) -> None:
    """Upkeep by a plain overwrite, and an expiry of everything before it: with the vector in the summary or without."""
    table = load_table(open_catalog(settings), settings.namespace, "vitals")
    summary = {OFFSETS: encode_vector(vector_of(table.metadata))} if carrying else {}
    table.overwrite(table.scan().to_arrow(), snapshot_properties=summary)
    head = table.metadata.current_snapshot_id
    past = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != head]
    table.maintenance.expire_snapshots().by_ids(past).commit()


BUILDS: dict[str, Callable[[], None]] = {
    build.__name__: build
    for build in (
        library_retries_on,
        files_deleted_after_an_unknown_outcome,
        an_answer_is_lost,
        offsets_from_the_consumer_group,
        a_seen_set_for_first_positions,
        state_from_an_older_snapshot,
    )
}
