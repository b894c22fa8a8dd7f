"""All tables of the process as one sink: a bounded queue, letting go of it, and taking up again.

Holds: `Lake`. Does not hold: the committing (committer.py), the second reading of Kafka (catch_up.py).

Alerts never wait for the lake: when the lake's queue is full the lake branch lets go of it, and later reads Kafka a
second time, from its tables' own vectors, until it meets the live position. The lake does wait for alerts: a batch
is handed to it only when the broker has acknowledged every alert of that batch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pipelines.batch import StreamBatch
from pipelines.committer import LakeTable, TableCommitter
from warehouse.settings import Settings

_LOG = logging.getLogger(__name__)

HEALTHY_S = 10.0
"""Committers that finished nothing for this long are not waited for by backlog,"""
PATIENCE_S = 10.0
"""nor those that, waited for this long in all, did not make half of the queue free."""
_LOOK_AGAIN_S = 0.005


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
        self.times_let_go = self.given_up = 0
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
        """Forget these (topic id, partition): another process reads them from now on. `given_up` counts it."""
        with self._lock:
            self.given_up += bool(places)
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

    def put(self, batch: StreamBatch, given_up: int) -> StreamBatch:
        """Take what the live reader has passed of a batch of the catch-up, and give back the rest.

        The rest may hold readings whose alerts are not told yet. Waits while the queue is full. Takes nothing where
        `given_up` is not what it was when the catch-up began: what it put here before may be forgotten since, even of
        partitions that are ours again, and what follows would leave a hole.
        """
        nbytes = batch.nbytes
        while self._is_full(nbytes) and self.given_up == given_up and not self.draining.is_set():
            time.sleep(_LOOK_AGAIN_S)
            self.raise_if_broken()
        with self._lock:
            topic_id = batch.messages.topic_id
            live = {p: self._live.get((topic_id, p), 0) for p in batch.messages.intervals}
        passed = batch.below(live)
        with self._lock:
            if self.given_up != given_up:
                return batch
            if passed.messages.intervals:
                self._hand_out(passed, nbytes)
        return batch.beyond(live)

    def met(self, positions: dict[tuple[str, int], int], given_up: int) -> bool:
        """Whether the catch-up stands at (or beyond) the live position; if so live batches are taken again. Never where
        `given_up` is not what it was when the catch-up began."""
        with self._lock:
            if self.given_up != given_up or any(positions.get(key, 0) < live for key, live in self._live.items()):
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
