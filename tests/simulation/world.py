"""One simulated world: catalog, store, broker and processes on one clock, and everything that can happen to them.

Holds: the world's parts and its draw of circumstances, the events (each a method), healing and draining, and what is
put in the place of the product's servers, threads, time and random names while a world runs.
Does not hold: which event comes next (machine.py), nor what is right (judge.py).
"""

from __future__ import annotations

import logging
import random
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import duckdb
import pyarrow as pa
from pyiceberg.exceptions import CommitStateUnknownException, ServerError, ServiceUnavailableError
from pyiceberg.manifest import clear_manifest_cache
from pyiceberg.table import Table
from pyiceberg.table import snapshots as library_snapshots
from requests import ReadTimeout
from sqlalchemy.exc import OperationalError

from pipelines import catch_up, lake, restore
from pipelines import committer as committers
from pipelines.restore import PATIENCE_S, Restorer
from pipelines.source import Positions, TopicFacts
from tests.simulation import process as sim
from tests.simulation import store as plain
from tests.simulation.broker import BAD, STREAM, Broker, SimulatedReader
from tests.simulation.catalog import NAMESPACE, MetastoreLike, RestLike, Tables, line_of
from tests.simulation.judge import Judge, Wrong, vector, vector_at
from tests.simulation.process import (
    DERIVED,
    INGESTED,
    DerivingProcess,
    Process,
    StreamProcess,
    Surroundings,
    SweepingProcess,
)
from tests.simulation.store import Store, data_rows
from tests.simulation.turns import (
    OK,
    SimulatedQueues,
    SimulatedThreading,
    SimulatedTime,
    Task,
    Turns,
    WorkingTime,
)
from warehouse import snapshots, table_session
from warehouse.analytics import LakeUnavailable
from warehouse.commit import FencedTable
from warehouse.settings import Settings
from warehouse.upkeep import observed

SETTINGS = Settings.from_environment({})
REQUESTS = ("load", "get", "put", "swap", "pointer", "answer", "delete", "list", "facts", "read", "query")
"""What goes out to another part. A turn that answers one of them is a step; so is an event."""
ANSWERS: dict[str, tuple[str, ...]] = {
    "load": ("lost", "torn"),
    "get": ("lost", "torn", "hollow"),
    "put": ("lost before", "lost after", "partial"),
    "swap": ("lost before", "lost after", "late", "conflict after acting"),
    "delete": ("lost before", "lost after"),
    "list": ("lost",),
    "facts": ("lost",),
    "read": ("lost",),
    "query": ("lost",),
}
"""How a request can go wrong."""
StandIns = Sequence[tuple[Any, str, Any]]
"""(module or class, the name in it, what stands there while a world runs)"""
OUTAGE = {kind: answers[0] for kind, answers in ANSWERS.items()}
HEALED_TURNS = 60_000
"""After healing all must be in within so many turns."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What kind of world it is."""

    partitions: int
    owned: tuple[tuple[int, ...] | None, ...]
    metastore: bool = False
    real_files: bool = False
    kept_snapshots: int = 6
    commit_seconds: float = 2.0
    commit_rows: int = 40
    queue_bytes: int = 20_000
    derives: bool = True
    sweeps: bool = False


def drawn(chance: random.Random, real_files: bool = False) -> Circumstances:
    """Circumstances of a world: one to three processes, with the same partitions or with their own."""
    partitions = chance.randint(1, 3)
    owned: tuple[tuple[int, ...] | None, ...] = chance.choice(
        ((None,), (None, None), (None, None, None), tuple((p,) for p in range(partitions)))
    )
    return Circumstances(
        partitions,
        owned,
        metastore=chance.random() < 0.5,
        real_files=real_files,
        kept_snapshots=chance.choice((2, 4, 8, 16)),
        commit_seconds=chance.choice((0.5, 2.0, 8.0)),
        commit_rows=chance.choice((5, 30, 200)),
        queue_bytes=chance.choice((4_000, 20_000, 1 << 20)),
        derives=chance.random() < 0.7,
        sweeps=chance.random() < 0.5,
    )


class World:
    """A site. `seed` names everything that is drawn in it but the order of turns and events."""

    def __init__(self, circumstances: Circumstances, seed: int) -> None:
        self.circumstances = circumstances
        self._names = random.Random(seed)
        self.turns = Turns()
        self.time = SimulatedTime(self.turns, self._skew)
        self.store = Store(self.turns, self._failure)
        self.broker = Broker(self.turns, circumstances.partitions)
        self.judge = Judge(self.broker, self.turns, self.store)
        self.tables = self.judge.tables = Tables(self.turns, self.store, self._failure, self.judge.landed)
        self._rng = random.Random(seed + 1)
        self.counts: Counter[str] = Counter()
        self.steps = self.turns_given = 0
        self.trace: list[tuple] | None = None
        self._sent = 0
        self.processes: list[Process] = []

    def begin(self) -> None:
        """Make the tables and start the processes. Within `installed`."""
        for name in (*INGESTED, DERIVED):
            self.tables.create(name)
        c = self.circumstances
        settings = replace(
            SETTINGS, commit_seconds=c.commit_seconds, commit_rows=c.commit_rows, lake_queue_bytes=c.queue_bytes
        )
        for n in range(len(c.owned)):
            around = self._surroundings(settings, n)
            self.processes.append(StreamProcess(f"stream{n}", self.turns, around))
        if c.derives:
            rng = random.Random(self._rng.random())
            self.processes.append(DerivingProcess("deriving", self.turns, self._open, rng, self.judge))
        if c.sweeps:
            chance = random.Random(self._rng.random())
            self.processes.append(SweepingProcess("sweeping", self.turns, self._open, self._load, chance))
        for process in self.processes:
            process.start(self.judge.disturbances)

    def _surroundings(self, settings: Settings, n: int) -> Surroundings:
        vault = SimpleNamespace(
            token_key=lambda: sim.KEY,
            house_key=lambda name: sim.KEY,
            erased_changes=lambda: 0,
            erased=dict,
            returned=dict,
        )
        return Surroundings(
            settings,
            lambda: range(len(self.broker.topic.partitions)),
            lambda partition: self._owns(n, partition),
            self.broker.facts,
            lambda facts, start: self.reader(settings, {STREAM: facts}, start),
            lambda: Restorer(settings, sim.SimulatedContracts(), vault, self),
        )

    def reader(self, settings: Settings, facts: dict[str, TopicFacts], start: Positions) -> SimulatedReader:
        """Stands in for `PartitionReader`."""
        return SimulatedReader(self.broker, self.turns, facts[STREAM], start)

    def _owns(self, n: int, partition: int) -> bool:
        """Whether a partition is the n-th process's. A topic made anew may have partitions that no process was given:
        one of them reads each, as the product's leases see to (pipelines/ownership.py); else nobody ever would."""
        given = self.circumstances.owned
        if any(owned is not None and partition in owned for owned in given):
            return partition in (given[n] or ())
        return given[n] is None or partition % len(given) == n

    # --- turns

    def runnable(self) -> list[Task]:
        """Tasks that would use a turn now."""
        now = self.turns.now
        return [t for t in self.turns.tasks if not t.owner.paused and t.wait.over(now)]

    def give(self, task: Task, answer: str = OK) -> None:
        """One turn, one answer; what a process dies of is judged."""
        self.note(task, answer)
        self.turns.give(task, answer)
        if self.judge.wrong is not None:
            raise self.judge.wrong
        if task.done and task.owner.main is task:
            self._ended(task)

    def note(self, task: Task, answer: str) -> None:
        """Count a turn."""
        kind = task.wait.kind
        self.turns_given += 1
        if kind in REQUESTS:
            self.steps += 1
            self.counts[f"request: {kind}"] += 1
            self.turns.now += 0.002
        if answer != OK:
            self.counts[f"answer: {kind} {answer}"] += 1
        if self.trace is not None:
            self.trace.append((task.name, kind, answer, round(self.turns.now, 3)))

    def _ended(self, task: Task) -> None:
        process = task.owner
        process.kill()
        process.restart_at = self.turns.now + 1.0
        if task.error is not None:
            why = self.judge.died(process, task.error)
            self.counts[f"stopped: {why}"] += 1

    def idle(self) -> None:
        """Nobody can use a turn: let time pass until somebody can, or a dead process is started again."""
        wakes = [t.wait.wake_at for t in self.turns.tasks if not t.owner.paused and t.wait.wake_at is not None]
        wakes += [p.restart_at for p in self.processes if not p.alive]
        wakes = [at for at in wakes if at > self.turns.now]
        self.turns.now = min(wakes, default=self.turns.now + 1.0)
        self.restart_due()

    def restart_due(self) -> None:
        """What the supervisor does."""
        for process in self.processes:
            if not process.alive and self.turns.now >= process.restart_at:
                process.start(self.judge.disturbances)
                self.counts["restart"] += 1

    # --- events

    def happened(self, what: str) -> None:
        self.steps += 1
        self.counts[f"event: {what}"] += 1
        if self.trace is not None:
            self.trace.append((what, round(self.turns.now, 3)))

    def send(self, partition: int, n: int, repeats: float = 0.2, bad: float = 0.05, holes: float = 0.1) -> None:
        """Messages into a partition: new events, repeats of earlier ones, bad ones; holes between them."""
        self.happened("send")
        log = self.broker.topic.partitions[partition % len(self.broker.topic.partitions)]
        known = sorted({m.event for m in log.messages.values() if m.event != BAD})
        for _ in range(n):
            draw = self._rng.random()
            if self._rng.random() < holes:
                log.skip(self._rng.randint(1, 3))
            if draw < bad:
                event = BAD
            elif known and draw < bad + repeats:
                event = self._rng.choice(known)
            else:
                self._sent += 1
                event = f"e{self._sent}"
                known.append(event)
            log.append(event, self.broker.now_ms())

    def kill(self, process: Process) -> None:
        """kill -9, wherever it stands. It comes again in a while."""
        self.happened("kill")
        process.kill()
        process.restart_at = self.turns.now + self._rng.choice((0.5, 5.0, 60.0))

    def pause(self, process: Process) -> None:
        """SIGSTOP: it does nothing while the others go on, and then goes on with what it remembers."""
        self.happened("pause")
        process.paused = True

    def resume(self, process: Process) -> None:
        self.happened("resume")
        process.paused = False

    def drain(self, process: Process) -> None:
        """SIGTERM."""
        self.happened("drain")
        process.draining = True

    def hand_over(self, process: Process, partition: int) -> None:
        """A process comes to believe that a partition is its own, or no longer is, as it does by leases that lapse and
        are taken (pipelines/ownership.py). Nobody asks the others: two may read it at a time, or none."""
        if isinstance(process, StreamProcess):
            self.happened("hand-over")
            process.moved ^= {partition % len(self.broker.topic.partitions)}

    def pass_time(self, seconds: float) -> None:
        self.happened("time passes")
        self.turns.now += seconds

    def set_clock(self, process: Process, skew_s: float) -> None:
        """The process's wall clock is wrong by so much from now on."""
        self.happened("clock jumps")
        process.skew_s = skew_s

    def arrive_late(self) -> None:
        """A commit whose sender was told nothing, or went away, reaches the catalog now."""
        if self.tables.late:
            self.happened("late commit arrives")
            act = self.tables.late.pop(self._rng.randrange(len(self.tables.late)))
            try:
                act()
            except Wrong:
                raise
            except Exception:
                self.counts["late commit refused"] += 1
            else:
                self.counts["late commit landed"] += 1

    def roll_back(self, name: str, back: int) -> None:
        """A table's head becomes an older snapshot that knows the same topics."""
        metadata = self.tables.states[name].metadata
        topics = {topic for topic, _ in vector(metadata) or {}}
        line = list(line_of(metadata))[1:]
        fit = [s for s in line[:back] if {t for t, _ in vector_at(metadata, s) or {}} == topics]
        if fit:
            self.happened("rollback")
            self.judge.rollbacks += 1
            self.tables.roll_back(name, fit[-1].snapshot_id)

    def expire(self, name: str, keep: int) -> None:
        """Upkeep lets snapshots go, never the one that the vector is read from."""
        if self.tables.expire(name, keep):
            self.happened("expiry")

    def rewrite(self, name: str, carries_vector: bool) -> None:
        """Another engine compacts."""
        self.happened("compaction with vector" if carries_vector else "compaction without vector")
        self.tables.rewrite(name, carries_vector)

    def lose_vector(self, name: str) -> None:
        """Another engine compacts and expires all that went before: nobody can tell any more how far the table is."""
        if vector(self.tables.states[name].metadata):
            self.happened("vector lost")
            self.judge.vectors_lost += 1
            self.tables.rewrite(name, carries_vector=False)
            self.tables.expire(name, keep=1, carefully=False)

    def tag(self, name: str) -> None:
        head = self.tables.states[name].metadata.current_snapshot()
        if head is not None and len(self.tables.states[name].metadata.refs) < 4:
            self.happened("tag")
            self.tables.tag(name, head.snapshot_id)

    def retain(self, partition: int, beyond: int) -> None:
        """Retention: what all tables have goes; `beyond` > 0: so many positions more."""
        topic = self.broker.topic
        partition %= len(topic.partitions)
        known = [vector(self.tables.states[name].metadata) or {} for name in INGESTED]
        least = min(v.get((topic.id, partition), 0) for v in known)
        self.happened("retention overtakes" if beyond else "retention")
        self.judge.retentions += 1
        topic.partitions[partition].retain_from(least + beyond)

    def compact(self, partition: int) -> None:
        """The log loses some messages whose event stands nowhere else."""
        topic = self.broker.topic
        log = topic.partitions[partition % len(topic.partitions)]
        times = Counter(message.event for message in log.ever.values())
        single = sorted(o for o, m in log.messages.items() if times[m.event] == 1)
        self.happened("log compaction")
        log.compact([offset for offset in single if self._rng.random() < 0.2])

    def recreate_topic(self) -> None:
        self.happened("topic recreated")
        self.broker.recreate(len(self.broker.topic.partitions))

    def add_partition(self) -> None:
        self.happened("partition added")
        self.broker.topic.partitions.append(type(self.broker.topic.partitions[0])())

    # --- the end

    def settle(self, chance: random.Random) -> str:
        """Heal everything, let everybody go on, and judge: "" when all is in, else why the site may stand still.

        Raises `Wrong`."""
        while self.tables.late and chance.random() < 0.5:
            self.arrive_late()
        self.tables.late.clear()
        for process in self.processes:
            process.paused, process.skew_s = False, 0.0
            if isinstance(process, StreamProcess):
                process.moved.clear()
        for partition in range(len(self.broker.topic.partitions)):
            # Until something comes, a running stream does not see that a table was rolled back under it.
            self.send(partition, 1)
        self.turns.keep = lambda task: self._kept(task, chance)
        given = self.turns_given
        stops_before = self.counts.copy()
        while not self.judge.done():
            if self.turns_given - given > HEALED_TURNS or self._stands(stops_before):
                why = self.judge.may_stop()
                if not why:
                    raise Wrong(f"healed, and after {self.turns_given - given} turns not all is in: {self._where()}")
                self.judge.final()
                return why
            tasks = self.runnable()
            if tasks:
                self.give(chance.choice(tasks))
            else:
                self.idle()
        self.judge.final()
        return ""

    def _kept(self, task: Task, chance: random.Random) -> str | None:
        if task.wait.kind not in REQUESTS or self.judge.wrong or chance.random() < 0.1:
            return None
        self.note(task, OK)
        return OK

    def _stands(self, before: Counter[str]) -> bool:
        """Whether processes have only been stopping, several times each, since the healing."""
        deaths = sum(n - before[what] for what, n in self.counts.items() if what.startswith("stopped"))
        return deaths >= 4 * len(self.processes) and bool(self.judge.may_stop())

    def _where(self) -> str:
        vectors = {name: vector(self.tables.states[name].metadata) for name in INGESTED}
        ends = {p: (log.low, log.high) for p, log in enumerate(self.broker.topic.partitions)}
        waits = [(task.name, task.wait.kind) for task in self.turns.tasks]
        return f"{vectors} of {self.broker.topic.id} {ends}; {waits}"

    def end(self) -> None:
        """End all tasks, whatever became of the world."""
        for process in self.processes:
            process.kill()

    # --- what stands in the product's place

    def _skew(self) -> float:
        return self.turns.current.owner.skew_s if self.turns.current else 0.0

    def _failure(self) -> Exception:
        kinds: list[Callable[[], Exception]] = [
            lambda: ConnectionResetError("reset"),
            lambda: TimeoutError("time-out"),
            lambda: ReadTimeout("time-out"),
            lambda: ServerError("500"),
            lambda: ServiceUnavailableError("503"),
            lambda: CommitStateUnknownException("504"),
        ]
        if self.circumstances.metastore:
            kinds.append(lambda: OperationalError("swap", {}, Exception("closed")))
        return self._rng.choice(kinds)()

    def _face(self) -> RestLike:
        return (MetastoreLike if self.circumstances.metastore else RestLike)(self.tables)

    def _load(self, name: str) -> Table:
        return self._face().load_table((NAMESPACE, name))

    def _open(self, name: str) -> FencedTable:
        owner = self.turns.current.owner if self.turns.current else None
        face = self._face()
        return FencedTable(
            face,
            (NAMESPACE, name),
            writer=owner.name if owner else "nobody",
            clock=lambda: datetime.fromtimestamp(self.time.time(), UTC),
            stop=SimulatedThreading(self.turns).Event(),
            patience_seconds=PATIENCE_S,
            kept_snapshots=self.circumstances.kept_snapshots,
        )

    def _name(self) -> uuid.UUID:
        return uuid.UUID(int=self._names.getrandbits(128), version=4)

    def query(self, sql: str, parameters: dict[str, Any]) -> SimpleNamespace:
        """Stands in for `Analytics.query`: the same statement, by DuckDB, over the tables as they are now."""
        if self.turns.ask("query") != OK:
            raise LakeUnavailable("no lake")
        with _DUCKDB.cursor() as cursor:
            for name in INGESTED:
                if re.search(rf"\b{name}\b", sql):
                    cursor.register(f"_{name}", self._content(name))
                    sql = re.sub(rf"\b{name}\b", f"_{name}", sql)
            return SimpleNamespace(table=cursor.execute(sql, parameters).to_arrow_table())

    def _content(self, name: str) -> pa.Table:
        metadata = self.tables.states[name].metadata
        head, io = metadata.current_snapshot(), self.tables.quiet_io
        entries = [e for m in head.manifests(io) for e in m.fetch_manifest_entry(io)] if head else []
        parts = [data_rows(io.store.get(entry.data_file.file_path)) for entry in entries]
        return pa.concat_tables([sim.ARROW.empty_table(), *(part.cast(sim.ARROW) for part in parts)])


_DUCKDB = duckdb.connect(config={"threads": 1})
_DUCKDB.execute("SET TimeZone = 'UTC'")


class _InTurn:
    """Stands in for pyiceberg's pool of threads: one after the other."""

    @staticmethod
    def get_or_create() -> type[_InTurn]:
        return _InTurn

    @staticmethod
    def map(function: Callable, items: list) -> list:
        return [function(item) for item in items]


@contextmanager
def installed(world: World, broken: StandIns = ()) -> Iterator[None]:
    """While this lasts, the product's code has this world around it, and no other. `broken`: further stand-ins."""
    clear_manifest_cache()
    levels = {name: logging.getLogger(name).level for name in ("pipelines", "warehouse")}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        with ExitStack() as stack:
            for target, name, stand_in in (*_stand_ins(world), *broken):
                stack.enter_context(patch.object(target, name, stand_in))
            yield
    finally:
        world.end()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _stand_ins(world: World) -> list[tuple[Any, str, Any]]:
    turns = world.turns
    threading_, opened = SimulatedThreading(turns), lambda settings, name: world._open(name)
    found = [
        (uuid, "uuid4", world._name),
        (restore, "open_table", opened),
        (restore, "StreamSteps", sim.SimulatedSteps),
        (restore, "Tokenizer", lambda key, system, epochs: None),
        (committers, "time", world.time),
        (committers, "threading", threading_),
        (committers, "queue", SimulatedQueues(turns)),
        (lake, "time", world.time),
        (lake, "threading", threading_),
        (lake, "_LOOK_AGAIN_S", 0.5),
        (catch_up, "time", WorkingTime(turns, world._skew)),
        (catch_up, "read_topic_facts", lambda settings, streams: {STREAM: world.broker.facts()}),
        (catch_up, "PartitionReader", world.reader),
        (snapshots, "ExecutorFactory", _InTurn),
        (observed, "ExecutorFactory", _InTurn),
        (snapshots, "MERGED_MANIFESTS", 4),
        (snapshots, "MERGE_TIERS", (4, 16)),
        (table_session, "SWEPT_FILES", 3),
        *_committers(world),
    ]
    return found if world.circumstances.real_files else found + _plain_files()


def _plain_files() -> list[tuple[Any, str, Any]]:
    return [
        (table_session, "stage", plain.stage_plainly),
        (snapshots, "write_manifest", plain.write_plain_manifest),
        (snapshots, "write_manifest_list", plain.write_plain_list),
        (library_snapshots, "_manifests", plain.read_plain_list),
    ]


def _committers(world: World) -> list[tuple[Any, str, Any]]:
    """A committer's thread is a task; what it is told of its commits is checked."""
    turns, account = world.turns, committers.TableCommitter._account
    tasks: dict[Any, Task] = {}

    def start(committer: committers.TableCommitter) -> None:
        current = turns.current
        assert current is not None, "committers are started by processes"
        tasks[committer] = turns.spawn(f"{current.name} {committer.table.name}", current.owner, committer.run)

    def join(committer: committers.TableCommitter, timeout: float) -> None:
        turns.ask("join", turns.now + timeout, lambda: tasks[committer].done)

    def told(committer: committers.TableCommitter, receipt: Any) -> None:
        if receipt is not None:
            world.judge.acknowledged(committer.table.name, receipt.vector)
        account(committer, receipt)

    return [
        (committers.TableCommitter, "start", start),
        (committers.TableCommitter, "join", join),
        (committers.TableCommitter, "is_alive", lambda committer: not tasks[committer].done),
        (committers.TableCommitter, "_account", told),
    ]
