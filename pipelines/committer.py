"""One committer thread a table: what it holds, when it commits, how it waits for the store.

Holds: `LakeTable`, a table as a sink, and `TableCommitter`.
Does not hold: the fence (warehouse/commit.py), the making of rows (lake_rows.py), the bound of the queue (lake.py).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import StreamBatch
from pipelines.revocations import RequestUnsentError
from warehouse.commit import CommitReceipt, FencedTable, StoreUnavailableError
from warehouse.offsets import Interval, RolledBackError, Vector
from warehouse.settings import Settings
from warehouse.vault import VaultUnavailableError

_LOG = logging.getLogger(__name__)

IDLE_ADVANCE_S = 60.0
"""A table without new rows moves its vector at least this often,"""
QUIET_S = 5.0
"""and this soon after the last message of all."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.2, 5.0


@dataclass(frozen=True, slots=True)
class LakeTable:
    """One table as a sink: how to open it, and how to make its rows of a batch.

    Attributes:
        rows: StreamBatch -> rows in the table's Arrow schema (none is fine); it may speak to the vault.
        commit_seconds: how long rows wait at most, where that is less than the settings say.
    """

    name: str
    streams: frozenset[str]
    schema: pa.Schema
    open: Callable[[], FencedTable]
    rows: Callable[[StreamBatch], pa.Table]
    commit_seconds: float = float("inf")


@dataclass(slots=True)
class _Pending:
    """What one table will commit next: contiguous intervals and the rows that fall into them."""

    generation: int
    rows: list[pa.Table] = field(default_factory=list)
    intervals: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    count: int = 0
    nbytes: int = 0
    since: float = 0.0
    rows_since: float = 0.0
    latest: float = 0.0

    def unseen(self, batch: StreamBatch) -> StreamBatch:
        """The part of a batch beyond what is held."""
        return batch.beyond(self._ends(batch))

    def ends_before(self, batch: StreamBatch) -> bool:
        """Whether something lies between what is held and the batch."""
        ends = self._ends(batch)
        return any(start > ends[partition] for partition, (start, _) in batch.messages.intervals.items())

    def _ends(self, batch: StreamBatch) -> dict[int, int]:
        topic_id, intervals = batch.messages.topic_id, batch.messages.intervals
        return {p: self.intervals.get((topic_id, p), (0, start))[1] for p, (start, _) in intervals.items()}

    def forget(self, places: frozenset[tuple[str, int]]) -> None:
        """Hold nothing more of these (topic id, partition)."""
        for place in places & set(self.intervals):
            del self.intervals[place]
            self.rows = [_without(rows, *place) for rows in self.rows]
        self.count, self.nbytes = sum(map(len, self.rows)), sum(rows.nbytes for rows in self.rows)

    def add(self, batch: StreamBatch, rows: pa.Table, offered_at: float) -> None:
        """Waiting counts from when the batch was offered, so that a commit under way does not delay the next one."""
        self.since, self.latest = self.since or offered_at, offered_at
        for partition, (start, end) in batch.messages.intervals.items():
            key = (batch.messages.topic_id, partition)
            self.intervals[key] = (self.intervals.get(key, (start, end))[0], end)
        if rows.num_rows:
            self.rows_since = self.rows_since or offered_at
            self.rows.append(rows)
            self.count += rows.num_rows
            self.nbytes += rows.nbytes


_Offer = tuple[int, StreamBatch, int, float]
"""generation, batch, its bytes, when it was offered (monotonic seconds)"""


class TableCommitter(threading.Thread):
    """Commits one table by time and by size, alone in its thread: pyiceberg's tables are not thread-safe.

    A generation ends when the lake lets go: whatever is queued or held of it is forgotten, except a commit under way.
    """

    def __init__(self, table: LakeTable, settings: Settings) -> None:
        super().__init__(name=f"commit {table.name}", daemon=True)
        self.table = table
        self.vector: Vector = {}
        self.error: BaseException | None = None
        self.waiting_for: str | None = None
        self.committed_rows = self.commits = self.extra_attempts = 0
        self.last_commit_at: float | None = None
        self.progressed_at = time.monotonic()
        self._settings = settings
        self._queue: queue.SimpleQueue[_Offer | frozenset[tuple[str, int]] | None] = queue.SimpleQueue()
        self._queued_bytes = 0
        self._generation = 0
        self._pending = _Pending(0)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._deadline = float("inf")
        self._gave_up = False
        self.busy = threading.Event()
        self.hurries = threading.Event()

    @property
    def held_bytes(self) -> int:
        return self._queued_bytes + self._pending.nbytes

    def settled(self) -> dict[tuple[str, int], int]:
        """(topic id, partition) -> the position below which this table has, or needs, no row that is not committed."""
        pending = self._pending
        reached = {(t, p): offset for t, partitions in self.vector.items() for p, offset in partitions.items()}
        if not pending.count and pending.generation == self._generation:
            reached |= {at: end for at, (_, end) in dict(pending.intervals).items()}
        return reached

    def offer(self, batch: StreamBatch, nbytes: int) -> None:
        with self._lock:
            self._queued_bytes += nbytes
            self._queue.put((self._generation, batch, nbytes, time.monotonic()))

    def let_go(self) -> None:
        with self._lock:
            self._generation += 1
            self._queued_bytes = 0

    def give_up(self, places: frozenset[tuple[str, int]]) -> None:
        """Forget what is queued or held of (topic id, partition): another process reads and commits it."""
        self._queue.put(places)

    def drain(self, timeout_s: float) -> bool:
        """Commit what is held, empty advances included, and end. False if that took too long."""
        self._deadline = time.monotonic() + timeout_s
        self._stopping.set()
        self._queue.put(None)
        self.join(timeout_s + 2 * _LONGEST_RETRY_S)
        return not self.is_alive() and not self._gave_up

    def run(self) -> None:
        try:
            self._table = self._insist(self.table.open)
            self.vector = self._insist(self._table.vector) if self._table is not None else {}
            while not self._stopping.is_set():
                self._gather(min(self._due_in(), 0.5))
                # Who is late takes all that waits: a commit for each batch would never catch up.
                while not self._queue.empty() and self._pending.count < self._settings.commit_rows:
                    self._gather(0)
                if self._due_in() <= 0:
                    self._commit()
            while not self._queue.empty() and not self._gave_up:
                self._gather(0)
            self._commit()
        except BaseException as error:
            self.error = error
            _LOG.error("the committer of %s ends: %s", self.table.name, type(error).__name__)

    def status(self) -> dict[str, object]:
        return {
            "rows": self.committed_rows,
            "commits": self.commits,
            "extra_attempts": self.extra_attempts,
            "last_commit_at": self.last_commit_at,
            "waiting_for": self.waiting_for,
        }

    def _gather(self, wait_s: float) -> None:
        try:
            item = self._queue.get(timeout=max(0.0, wait_s))
        except queue.Empty:
            return
        if item is None:
            return
        if isinstance(item, frozenset):
            self._pending.forget(item)
            return
        self.busy.set()
        try:
            self._hold(*item)
        finally:
            self.busy.clear()

    def _hold(self, generation: int, batch: StreamBatch, nbytes: int, offered_at: float) -> None:
        if self._pending.generation != self._generation:
            self._pending = _Pending(self._generation)
        if generation == self._pending.generation and self._pending.ends_before(batch):
            # Another process that read the partition may have committed what lies between. The fence knows.
            self._commit()
        if generation != self._pending.generation:
            return
        unseen = self._pending.unseen(batch)
        rows = self._insist(lambda: self.table.rows(unseen))
        if rows is not None:
            self._pending.add(unseen, rows, offered_at)
        with self._lock:
            if generation == self._generation:
                self._queued_bytes -= nbytes

    def _due_in(self) -> float:
        pending = self._pending
        if not pending.intervals:
            return IDLE_ADVANCE_S
        if pending.count >= self._settings.commit_rows or self.hurries.is_set():
            return 0.0
        due = min(pending.since + IDLE_ADVANCE_S, pending.latest + QUIET_S)
        if pending.count:
            due = min(due, pending.rows_since + min(self.table.commit_seconds, self._settings.commit_seconds))
        return due - time.monotonic()

    def _commit(self) -> None:
        self.busy.set()
        try:
            pending, self._pending = self._pending, _Pending(self._generation)
            if not pending.intervals or pending.generation != self._generation:
                return
            rows = pa.concat_tables(pending.rows) if pending.rows else self.table.schema.empty_table()
            intervals = [
                Interval(t, p, start, end) for (t, p), (start, end) in pending.intervals.items() if start < end
            ]
            self._account(self._insist(lambda: self._table.commit(rows, intervals)) if intervals else None)
        finally:
            self.busy.clear()

    def _account(self, receipt: CommitReceipt | None) -> None:
        if receipt is None:
            return
        self._refuse_going_back(receipt.vector)
        self.vector = receipt.vector
        self.committed_rows += receipt.rows
        self.commits += 1
        self.extra_attempts += receipt.attempts - 1
        self.last_commit_at = time.time()
        self.progressed_at = time.monotonic()

    def _refuse_going_back(self, vector: Vector) -> None:
        """A partition without new messages would else stay rolled back for ever: only a start reads it again."""
        for topic_id, partitions in self.vector.items():
            for partition, offset in partitions.items():
                now = vector.get(topic_id, {}).get(partition, 0)
                if now < offset:
                    raise RolledBackError(
                        f"table {self.table.name} was rolled back: topic {topic_id} partition {partition} stood at "
                        f"{offset}, is at {now}. What is missing will be read again from there at the next start"
                    )

    def _insist(self, action: Callable):
        """Try until the store, the catalog and the vault answer, and the broker where a revoke leads to requests. None
        when the process ends before they do: then nothing more may be committed, for it would leave a hole."""
        pause = _FIRST_RETRY_S
        while not self._gave_up:
            try:
                result = action()
                self.waiting_for = None
                return result
            except (StoreUnavailableError, VaultUnavailableError, RequestUnsentError) as error:
                self.waiting_for = str(error)
                _LOG.warning("%s waits: %s", self.table.name, error)
                self._gave_up = time.monotonic() + pause > self._deadline
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY_S)
        return None


def _without(rows: pa.Table, topic_id: str, partition: int) -> pa.Table:
    of_topic = pc.equal(rows["topic_id"].cast(pa.string()), topic_id)
    return rows.filter(pc.invert(pc.and_(of_topic, pc.equal(rows["kafka_partition"], partition))))
