"""Processes of the simulated site: the product's own stream process, one that derives tables, and one that sweeps.

Holds: how an incarnation lives and dies, and the tiny stream it reads: a contract, a decoder, rows of three tables.
Real in it: `pipelines.restore.Restorer` (starts and memory), `pipelines.deduplicate`, `pipelines.lake.Lake` with its
committers and its `CatchUp`, and all of the fence below them.
Does not hold: what is put in the place of servers and threads (world.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines import restore
from pipelines.batch import MessageBatch, Reject, StreamBatch
from pipelines.catch_up import CatchUp
from pipelines.committer import LakeTable
from pipelines.deduplicate import deduplicate
from pipelines.lake import Lake
from pipelines.restore import Restorer
from pipelines.source import BrokerUnavailableError, Positions, TopicFacts
from tests.simulation.broker import BAD, STREAM, SimulatedReader
from tests.simulation.turns import EPOCH_S, Task, Turns
from warehouse.analytics import LakeUnavailable
from warehouse.commit import FencedTable, OutcomeUnknownError, StoreUnavailableError
from warehouse.settings import Settings
from warehouse.snapshots import TORN, SweepOvertakenError
from warehouse.table_session import TRANSIENT
from warehouse.upkeep import observed, sweep

ROWS, REJECTS, DUPLICATES, DERIVED = "rows", "rejects", "duplicates", "derived"
INGESTED = (ROWS, REJECTS, DUPLICATES)
KEY = bytes(range(32))
MAX_IDS = 1 << 14  # more than any world sends: the judge forgets by time alone
HORIZON_S = 900
"""Repeats further apart than this are events of their own."""
DRAIN_S = 30.0
FRESH_S = 5.0
AWAY = (StoreUnavailableError, LakeUnavailable, BrokerUnavailableError)
DAY_S = 86_400
TIMESTAMP = pa.timestamp("us", "UTC")
ARROW = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("first_offset", pa.int64()),
        pa.field("topic_id", pa.string(), nullable=False),
        pa.field("kafka_partition", pa.int32(), nullable=False),
        pa.field("kafka_offset", pa.int64(), nullable=False),
        pa.field("kafka_time", TIMESTAMP, nullable=False),
    ]
)

TABLES = [SimpleNamespace(name=name, fed_by=(STREAM,)) for name in INGESTED]
CONTRACT = SimpleNamespace(
    deduplication=SimpleNamespace(column="event_id", max_ids=MAX_IDS, horizon_seconds=HORIZON_S),
    tables=TABLES,
    topic=SimpleNamespace(key_system=None),
    consented=(),
    keep_raw=False,
)

NO_POISON: Any = SimpleNamespace(apart=lambda batch: [batch], is_convicted=lambda batch: False)


class SimulatedContracts:
    """One stream and its three tables."""

    def topics(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(stream=STREAM)]

    def tables(self) -> list[SimpleNamespace]:
        return TABLES

    def tables_of(self, stream: str) -> list[SimpleNamespace]:
        return TABLES

    def values(self) -> list[SimpleNamespace]:
        return [CONTRACT]

    def stream(self, name: str) -> SimpleNamespace:
        return CONTRACT


class SimulatedSteps:
    """Stands in for `StreamSteps`: a message is the name of its event, or bad; deduplication is the product's."""

    def __init__(self, contract: SimpleNamespace, tokenizer: object, *memory: Any) -> None:
        self._contract, self._memory = contract, memory

    def all(self, messages: MessageBatch) -> StreamBatch:
        bad = np.array([value == BAD.encode() for value in messages.values], bool)
        good = np.flatnonzero(~bad)
        events = pa.array([messages.values[at].decode() for at in good], pa.string())
        rejects = tuple(Reject(at, "decode", "bad") for at in np.flatnonzero(bad).tolist())
        batch = StreamBatch(messages, rows=pa.table({"event_id": events}), row_index=good, rejects=rejects)
        first, known, *_ = self._memory
        return deduplicate(batch, first, self._contract, known)

    def withhold(self, batch: StreamBatch, now_us: int) -> StreamBatch:
        return batch


def table_rows(batch: StreamBatch) -> pa.Table:
    return _rows(batch.messages, batch.row_index, batch.rows["event_id"].combine_chunks())


def reject_rows(batch: StreamBatch) -> pa.Table:
    index = np.array([reject.index for reject in batch.rejects], np.int64)
    return _rows(batch.messages, index, pa.array([BAD] * len(index), pa.string()))


def duplicate_rows(batch: StreamBatch) -> pa.Table:
    duplicates = batch.duplicates
    return _rows(batch.messages, duplicates.index, duplicates.event_ids, pa.array(duplicates.first_offsets, pa.int64()))


def _rows(messages: MessageBatch, index: np.ndarray, events: pa.Array, first: pa.Array | None = None) -> pa.Table:
    n = len(index)
    columns = [
        events,
        pa.nulls(n, pa.int64()) if first is None else first,
        pa.array([messages.topic_id] * n, pa.string()),
        pa.array(messages.partitions[index], pa.int32()),
        pa.array(messages.offsets[index], pa.int64()),
        pa.array(messages.appended_ms[index] * 1000, TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=ARROW)


class Process:
    """A process that is started again whenever it dies. `life` is what an incarnation does."""

    def __init__(self, name: str, turns: Turns) -> None:
        self.name, self.turns = name, turns
        self.paused = self.draining = False
        self.skew_s = 0.0
        self.incarnation = 0
        self.began_after = (0, 0)
        self.restart_at = 0.0
        self.main: Task | None = None

    @property
    def alive(self) -> bool:
        return self.main is not None

    @property
    def tasks(self) -> list[Task]:
        return [task for task in self.turns.tasks if task.owner is self]

    def start(self, disturbances: tuple[int, int]) -> None:
        """A new incarnation, which knows nothing of the last. `disturbances`: those of the judge, until now."""
        self.incarnation += 1
        self.began_after = disturbances
        self.paused = self.draining = False
        self.main = self.turns.spawn(f"{self.name}.{self.incarnation}", self, self.life)

    def kill(self) -> None:
        """All of its memory is gone, whatever it was doing."""
        self.main = None
        while tasks := self.tasks:
            self.turns.kill(tasks[0])

    def life(self) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a stream process is given instead of servers. `partitions`: those there are; `owns`: which of them it was
    given."""

    settings: Settings
    partitions: Callable[[], range]
    owns: Callable[[int], bool]
    facts: Callable[[], TopicFacts]
    reader: Callable[[TopicFacts, Positions], SimulatedReader]
    restorer: Callable[[], Restorer]


@dataclass(frozen=True, slots=True)
class SimulatedShard:
    """What `pipelines.shards.ShardState` is in the product: partitions, where they are read, what is remembered."""

    partitions: frozenset[int]
    topic_id: str
    reader: SimulatedReader
    steps: SimulatedSteps

    def places(self) -> dict[tuple[str, int], int]:
        return {(self.topic_id, p): offset for (_, p), offset in self.reader.positions.items()}


class SimulatedOpening:
    """Stands in for `pipelines.shards.Opening`: a shard being opened beside what runs."""

    def __init__(self, process: StreamProcess, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        self._process = process
        self._opened: SimulatedShard | None = None
        self._task = process.turns.spawn(f"{process.name} opening", process, self._run)

    def _run(self) -> None:
        self._opened = self._process.opened(self.partitions)

    def result(self) -> SimulatedShard | None:
        if self._task.error is not None:
            raise self._task.error
        return self._opened


class StreamProcess(Process):
    """Reads, deduplicates and hands to the lake, as the graph over pipelines/state.py does, and opens its shard anew
    beside what runs when other partitions are to be its own.

    `moved`: partitions of which it believes the contrary of what it was given: that it stands in for their reader, or
    that another reads for it. It forgets that when it is started again.
    """

    def __init__(self, name: str, turns: Turns, surroundings: Surroundings) -> None:
        super().__init__(name, turns)
        self._around = surroundings
        self.moved: set[int] = set()
        self._shard: SimulatedShard | None = None
        self._opening: SimulatedOpening | None = None

    def start(self, disturbances: tuple[int, int]) -> None:
        self.moved.clear()
        self._shard = self._opening = None
        super().start(disturbances)

    @property
    def _wanted(self) -> frozenset[int]:
        return frozenset(p for p in self._around.partitions() if self._around.owns(p) != (p in self.moved))

    def life(self) -> None:
        """Until it is told to end; what ends it otherwise is raised."""
        first = self.opened(self._wanted)
        settings = self._around.settings
        catch_up = CatchUp(settings, (STREAM,), self._around.restorer, lambda: self._partitions, NO_POISON)
        lake = Lake(settings, [_lake_table(table.name, settings) for table in TABLES], catch_up.run)
        self._install(lake, first)
        while not self.draining:
            lake.raise_if_broken()
            self._follow(lake)
            if self._shard is None:
                self.turns.sleep(0.5)
            else:
                self._read(lake, self._shard)
        lake.drain(DRAIN_S)

    def _read(self, lake: Lake, shard: SimulatedShard) -> None:
        for messages in shard.reader.read(0.5):
            batch = shard.steps.all(messages)
            late = bool(len(messages)) and self.turns.now + EPOCH_S - messages.appended_ms[-1] / 1000 > FRESH_S
            lake.offer(batch, may_wait=lambda late=late: late and lake.progresses)

    def _follow(self, lake: Lake) -> None:
        """What `ProcessState` does about the partitions that its leases say."""
        wanted = self._wanted
        if self._shard is not None and self._shard.partitions == wanted:
            self._opening = None
        elif not wanted:
            self._install(lake, None)
        elif self._opening is None or self._opening.partitions != wanted:
            self._opening = SimulatedOpening(self, wanted)
        elif (opened := self._opening.result()) is not None:
            self._install(lake, opened)

    def _install(self, lake: Lake, opened: SimulatedShard | None) -> None:
        closed, self._shard, self._opening = self._shard, opened, None
        kept = opened.partitions if opened else frozenset()
        if closed is not None:
            lake.give_up({place for place in closed.places() if place[1] not in kept})
        if opened is not None:
            lake.starts_at(opened.places())

    def opened(self, partitions: frozenset[int]) -> SimulatedShard:
        """Waits for what does not answer."""
        while True:
            try:
                return self._open(partitions)
            except AWAY:
                self.turns.sleep(1.0)

    def _open(self, partitions: frozenset[int]) -> SimulatedShard:
        """Positions from the tables' vectors, memory from their rows."""
        restorer, facts = self._around.restorer(), self._around.facts()
        starts = restorer.starts({STREAM: facts})[STREAM]
        mine = {p: offset for p, offset in starts.items() if p in partitions}
        steps = restorer.steps(facts, mine)
        restorer.confirm({STREAM: facts})
        reader = self._around.reader(facts, {(STREAM, p): offset for p, offset in mine.items()})
        return SimulatedShard(partitions, facts.topic_id, reader, steps)

    @property
    def _partitions(self) -> frozenset[int]:
        return self._shard.partitions if self._shard else frozenset()


def _lake_table(name: str, settings: Settings) -> LakeTable:
    rows = {ROWS: table_rows, REJECTS: reject_rows, DUPLICATES: duplicate_rows}[name]
    return LakeTable(name, frozenset({STREAM}), ARROW, lambda: restore.open_table(settings, name), rows)


class SweepingProcess(Process):
    """Looks for what no snapshot names, waits, and sweeps it: with the product's own look, fence and sweep.

    It waits far less than upkeep does: no query runs here, and what writers have staged must be safe without any wait.
    """

    def __init__(
        self,
        name: str,
        turns: Turns,
        open_table: Callable[[str], FencedTable],
        load_table: Callable[[str], Any],
        chance: random.Random,
    ) -> None:
        super().__init__(name, turns)
        self._open_table, self._load_table, self._chance = open_table, load_table, chance
        self.deleted = 0

    def life(self) -> None:
        while not self.draining:
            self.turns.sleep(self._chance.uniform(0, 3))
            try:
                self._round(self._chance.choice(INGESTED))
            except (*TRANSIENT, StoreUnavailableError, SweepOvertakenError, *TORN, KeyError):
                continue

    def _round(self, name: str) -> None:
        if self._load_table(name).current_snapshot() is None:
            return
        if (resumed := sweep.resume(self._load_table(name))) is not None:
            self.deleted += resumed.objects
        marked = sweep.mark(self._load_table(name))
        self.turns.sleep(self._chance.choice((0.0, 0.5, 5.0, 60.0)))
        table = self._load_table(name)
        if observed.interrupted_sweep(table) is None:
            self.deleted += sweep.sweep(self._open_table(name), table, marked).objects


@dataclass(frozen=True, slots=True)
class Derivation:
    """One call of `append_derived`. `day`: days since 1970 it replaces, None for an append."""

    id: str
    table: str
    rows: pa.Table
    day: int | None = None


class DerivingProcess(Process):
    """Appends to a derived table, replaces days of it, and commits nothing at all to the ingested ones in between, as
    upkeep would: what they say of positions must be carried along."""

    def __init__(
        self, name: str, turns: Turns, open_table: Callable[[str], FencedTable], chance: random.Random, judge: Any
    ) -> None:
        super().__init__(name, turns)
        self._open_table, self._chance, self._judge = open_table, chance, judge
        self._made = 0

    def life(self) -> None:
        while not self.draining:
            self.turns.sleep(self._chance.uniform(1, 20))
            derivation = self._next()
            self._judge.derives(derivation)
            day = None if derivation.day is None else date(1970, 1, 1) + timedelta(days=derivation.day)
            try:
                self._open_table(derivation.table).append_derived(derivation.rows, {derivation.id: 1}, day)
            except (StoreUnavailableError, OutcomeUnknownError):
                continue
            self._judge.derived(derivation)

    def _next(self) -> Derivation:
        self._made += 1
        id_ = f"{self.name}-{self._made}"
        kind = self._chance.choice(("append", "replace", "carry"))
        table = self._chance.choice(INGESTED)
        if kind == "carry" and self._judge.is_started(table):
            return Derivation(id_, table, ARROW.empty_table())
        day = 20_000 + (self._chance.randint(1, 2) if kind == "replace" else 0)
        rows = derived_rows(id_, day, self._chance.randint(1, 4))
        return Derivation(id_, DERIVED, rows, day if kind == "replace" else None)


def derived_rows(id_: str, day: int, n: int) -> pa.Table:
    at = datetime.fromtimestamp(day * DAY_S, UTC)
    columns = [[id_] * n, [None] * n, ["derived"] * n, [0] * n, list(range(n)), [at] * n]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, ARROW, strict=True)], schema=ARROW)
