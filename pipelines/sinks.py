"""The two ends of the graph: alerts to Kafka, rows to the lake.

Holds: the alert producer, one committer thread a table behind a bounded queue, the lake's letting go and catching up.
Does not hold: the fence (warehouse/commit.py), the rules (pipelines/clinical), nor the making of rows (lake_rows.py).

Alerts never wait for the lake: when the lake's queue is full the lake branch lets go of it, and later reads Kafka a
second time, from its tables' own vectors, until it meets the live position. The lake does wait for alerts: a batch
is handed to it only when the broker has acknowledged every alert of that batch.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import KafkaError, Message, Producer

from pipelines.batch import StreamBatch
from warehouse.commit import CommitReceipt, FencedTable, StoreUnavailableError
from warehouse.offsets import GapError, Interval, RolledBackError, Vector
from warehouse.settings import Settings
from warehouse.vault import VaultUnavailableError

_LOG = logging.getLogger(__name__)

IDLE_ADVANCE_S = 60.0
"""A table without new rows moves its vector at least this often,"""
QUIET_S = 5.0
"""and this soon after the last message of all."""
HEALTHY_S = 10.0
"""Committers that finished nothing for this long are not waited for by backlog,"""
PATIENCE_S = 10.0
"""nor those that, waited for this long in all, did not make half of the queue free."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.2, 5.0
_LOOK_AGAIN_S = 0.005
_ALERT_DELIVERY_S = 60.0


class AlertUndeliveredError(RuntimeError):
    """The broker did not take an alert in time. The process ends and decides it again from the lake's position."""


class AlertProducer:
    """Sends alerts and returns when the broker has them. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        options = {
            "enable.idempotence": True,
            "linger.ms": 0,
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "delivery.timeout.ms": int(_ALERT_DELIVERY_S * 1000),
        }
        self._producer = Producer(settings.kafka(**options))
        self.sent: dict[str, int] = {}

    def send(self, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Produce (key, value) pairs and wait for their acknowledgement. Raises `AlertUndeliveredError`."""
        failures: list[str] = []
        count = 0
        for count, (key, value) in enumerate(messages, start=1):  # noqa: B007
            self._producer.produce(topic, value, key, on_delivery=partial(_note_failure, failures))
        if count and self._producer.flush(_ALERT_DELIVERY_S + 5):
            failures.append("time-out")
        if failures:
            raise AlertUndeliveredError(f"{len(failures)} alerts were not taken by topic {topic}: {failures[0]}")
        self.sent[topic] = self.sent.get(topic, 0) + count


def _note_failure(failures: list[str], error: KafkaError | None, _: Message) -> None:
    if error is not None:
        failures.append(error.name())


@dataclass(frozen=True, slots=True)
class LakeTable:
    """One table as a sink: how to open it, and how to make its rows of a batch.

    Attributes:
        rows: StreamBatch -> rows in the table's Arrow schema (none is fine); it may speak to the vault.
    """

    name: str
    streams: frozenset[str]
    schema: pa.Schema
    open: Callable[[], FencedTable]
    rows: Callable[[StreamBatch], pa.Table]


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
        """The part of a batch beyond what is held. A hole between the two is a defect of ours and raises."""
        held = {}
        for partition, (start, _) in batch.messages.intervals.items():
            end = self.intervals.get((batch.messages.topic_id, partition), (0, start))[1]
            if start > end:
                raise GapError(f"{batch.messages.stream} partition {partition}: held up to {end}, given {start}")
            held[partition] = end
        return batch.beyond(held)

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
            due = min(due, pending.rows_since + self._settings.commit_seconds)
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
        """Try until the store, the catalog and the vault answer. None when the process ends before they do: then
        nothing more may be committed, for it would leave a hole."""
        pause = _FIRST_RETRY_S
        while not self._gave_up:
            try:
                result = action()
                self.waiting_for = None
                return result
            except (StoreUnavailableError, VaultUnavailableError) as error:
                self.waiting_for = str(error)
                _LOG.warning("%s waits: %s", self.table.name, error)
                self._gave_up = time.monotonic() + pause > self._deadline
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY_S)
        return None


def _without(rows: pa.Table, topic_id: str, partition: int) -> pa.Table:
    of_topic = pc.equal(rows["topic_id"].cast(pa.string()), topic_id)
    return rows.filter(pc.invert(pc.and_(of_topic, pc.equal(rows["kafka_partition"], partition))))


class Lake:
    """All tables of the process: takes batches, bounds what is held, lets go and catches up.

    Args:
        catch_up: called in a thread of its own after the lake let go; it reads Kafka from the tables' vectors and
            hands batches to `put` until `met` says that the live position is reached. It never passes that position:
            beyond it alerts may not be told yet.
    """

    def __init__(self, settings: Settings, tables: list[LakeTable], catch_up: Callable[[Lake], None]) -> None:
        self._settings = settings
        self.committers = {table.name: TableCommitter(table, settings) for table in tables}
        self._catch_up = catch_up
        self._lock = threading.Lock()
        self._live: dict[tuple[str, int], int] = {}
        self._waited_s = 0.0
        self._apart: threading.Thread | None = None
        self.times_let_go = 0
        self.draining = threading.Event()
        for committer in self.committers.values():
            committer.start()

    @property
    def held_bytes(self) -> int:
        return sum(committer.held_bytes for committer in self.committers.values())

    @property
    def is_apart(self) -> bool:
        """Whether the lake let go of the live batches and reads Kafka by itself."""
        return self._apart is not None

    @property
    def waiting_for(self) -> str | None:
        return next((c.waiting_for for c in self.committers.values() if c.waiting_for), None)

    @property
    def progresses(self) -> bool:
        """Whether the store answers and something was committed of late."""
        newest = max(committer.progressed_at for committer in self.committers.values())
        return self.waiting_for is None and time.monotonic() - newest < HEALTHY_S

    def settled(self) -> dict[tuple[str, int], int]:
        """(topic id, partition) -> the position below which no row of any table is still to be committed."""
        least: dict[tuple[str, int], int] = {}
        for committer in self.committers.values():
            for at, offset in committer.settled().items():
                least[at] = min(offset, least.get(at, offset))
        return least

    def starts_at(self, positions: dict[tuple[str, int], int]) -> None:
        """Where the live reader stands when it is opened: (topic id, partition) -> offset."""
        with self._lock:
            self._live.update(positions)

    def give_up(self, places: set[tuple[str, int]]) -> None:
        """Forget these (topic id, partition): another process reads them from now on."""
        with self._lock:
            for place in places:
                self._live.pop(place, None)
            for committer in self.committers.values():
                committer.give_up(frozenset(places))

    def offer(self, batch: StreamBatch, may_wait: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Take a live batch, whose alerts are told. While `may_wait()` holds a full queue is waited for, up to
        `patience_s` in all until half of it was free again; then it is let go."""
        self.raise_if_broken()
        nbytes = batch.nbytes
        if self.held_bytes < self._settings.lake_queue_bytes / 2:
            self._waited_s = 0.0
        while not self.is_apart and self._is_full(nbytes) and may_wait() and not self.draining.is_set():
            if self._waited_s >= patience_s:
                break
            time.sleep(_LOOK_AGAIN_S)
            self._waited_s += _LOOK_AGAIN_S
            self.raise_if_broken()
        with self._lock:
            for partition, (_, end) in batch.messages.intervals.items():
                self._live[batch.messages.topic_id, partition] = end
            if self.is_apart:
                return
            if self._is_full(nbytes):
                self._let_go()
                return
            self._hand_out(batch, nbytes)

    def put(self, batch: StreamBatch) -> StreamBatch:
        """Take what the live reader has passed of a batch of the catch-up, and give back the rest.

        The rest may hold readings whose alerts are not told yet. Waits while the queue is full.
        """
        nbytes = batch.nbytes
        while self._is_full(nbytes) and not self.draining.is_set():
            time.sleep(_LOOK_AGAIN_S)
            self.raise_if_broken()
        with self._lock:
            topic_id = batch.messages.topic_id
            live = {p: self._live.get((topic_id, p), 0) for p in batch.messages.intervals}
        passed = batch.below(live)
        if passed.messages.intervals:
            self._hand_out(passed, nbytes)
        return batch.beyond(live)

    def met(self, positions: dict[tuple[str, int], int]) -> bool:
        """Whether the catch-up stands at (or beyond) the live position; if so live batches are taken again."""
        with self._lock:
            if any(positions.get(key, 0) < live for key, live in self._live.items()):
                return False
            self._apart = None
            return True

    def hurry(self, on: bool) -> None:
        """Commit whatever comes at once, positions without rows too."""
        for committer in self.committers.values():
            (committer.hurries.set if on else committer.hurries.clear)()

    def wait_until_idle(self) -> None:
        """Wait for commits under way to end, whatever their outcome."""
        while not self.draining.is_set() and any(c.busy.is_set() for c in self.committers.values()):
            time.sleep(0.05)

    def drain(self, timeout_s: float) -> bool:
        """Let the catch-up meet the live position, commit what is held, end. False if that took too long."""
        deadline = time.monotonic() + timeout_s
        met = self._apart is None or self._wait_for_the_catch_up(deadline)
        self.draining.set()
        results = [c.drain(max(0.1, deadline - time.monotonic())) for c in self.committers.values()]
        self.raise_if_broken()
        return met and all(results)

    def _wait_for_the_catch_up(self, deadline: float) -> bool:
        while self._apart is not None and time.monotonic() < deadline:
            self.raise_if_broken()
            time.sleep(0.05)
        return self._apart is None

    def raise_if_broken(self) -> None:
        for committer in self.committers.values():
            if committer.error is not None:
                raise committer.error

    def status(self) -> dict[str, object]:
        """Numbers and names, for the status file."""
        return {
            "held_bytes": self.held_bytes,
            "apart": self.is_apart,
            "times_let_go": self.times_let_go,
            "tables": {name: committer.status() for name, committer in self.committers.items()},
        }

    def _is_full(self, nbytes: int) -> bool:
        held = self.held_bytes
        return bool(held) and held + nbytes > self._settings.lake_queue_bytes

    def _hand_out(self, batch: StreamBatch, nbytes: int) -> None:
        for committer in self.committers.values():
            if batch.messages.stream in committer.table.streams:
                committer.offer(batch, nbytes)

    def _let_go(self) -> None:
        self.times_let_go += 1
        _LOG.warning("the lake lets go of its queue and will read again from its tables' vectors")
        for committer in self.committers.values():
            committer.let_go()
        self._apart = threading.Thread(target=self._run_catch_up, name="lake catch-up", daemon=True)
        self._apart.start()

    def _run_catch_up(self) -> None:
        try:
            self._catch_up(self)
        except BaseException as error:
            next(iter(self.committers.values())).error = error
