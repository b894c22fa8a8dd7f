"""What one process remembers: its shards and their streams, its lake, its alert producer.

Holds: when a shard is opened, what a batch must meet, the lake's catching up, drain and status. Process-wide, because
a runner makes several instances of one DoFn and drops them as it likes.
Does not hold: what a step computes (stream_steps.py), what a start reads (restore.py), the queue and threads of the
lake (sinks.py), or Beam.

State is rebuilt from the lake and never kept anywhere else. It knows the next position it expects: a shard that is
asked for from another position is opened again, and a batch that does not begin where it should is refused.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from typing import TypeVar

import pyarrow as pa

from pipelines.alerts.message import Alert, encode
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.clinical.monitor import WardMonitor
from pipelines.lake_rows import duplicate_rows, reject_rows, table_rows
from pipelines.restore import (
    ALERTS,
    DUPLICATES,
    REJECTS,
    SCORED_STREAM,
    WITHHELD,
    KnownAlerts,
    Restorer,
    open_table,
)
from pipelines.sinks import AlertProducer, Lake, LakeTable
from pipelines.source import (
    BrokerUnavailableError,
    PartitionReader,
    Positions,
    Shard,
    TopicFacts,
    read_topic_facts,
)
from pipelines.stream_steps import StreamSteps
from warehouse.analytics import Analytics, LakeUnavailable
from warehouse.commit import StoreUnavailableError
from warehouse.contract import TableContract, load_contracts
from warehouse.offsets import GapError
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.vault import SqliteVault, VaultUnavailableError, open_vault

_LOG = logging.getLogger(__name__)

_RETRY_S = 1.0
_PROMPT_S = 8.0
_REPORT_S = 1.0
_CATCH_UP_MESSAGES = 2_000
_LONGEST_YIELD_S = 0.1
_FRESH_S = 5.0
"""A batch appended longer ago than this is backlog: its alerts are late already, so it may wait for a busy lake."""

T = TypeVar("T")
_UNAVAILABLE = (StoreUnavailableError, LakeUnavailable, VaultUnavailableError, BrokerUnavailableError)


class ShardState:
    """An open shard: where its reader stands, and what each of its streams remembers."""

    def __init__(self, shard: Shard, facts: dict[str, TopicFacts], reader: PartitionReader) -> None:
        self.shard, self.facts, self.reader = shard, facts, reader
        self.steps: dict[str, StreamSteps] = {}
        self.monitor: WardMonitor | None = None
        self.known_alerts = KnownAlerts(set())
        self._expected: Positions = dict(reader.positions)

    def expect(self, messages: MessageBatch) -> None:
        """Refuse a batch that does not begin where the state ends: state may neither miss nor repeat a position."""
        for partition, (start, end) in messages.intervals.items():
            expected = self._expected[messages.stream, partition]
            if start != expected:
                where = f"{messages.stream} partition {partition}"
                raise GapError(f"{where}: state ends at {expected}, the batch begins at {start}; start again")
            self._expected[messages.stream, partition] = end

    def ended(self) -> bool:
        """Whether a bounded run has read all it was to read."""
        until = self.shard.until
        return bool(until) and all(self.reader.positions.get((s, p), end) >= end for s, p, end in until)


class ProcessState:
    """Everything process-wide. Made once by `process_state`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failure: BaseException | None = None
        self._contracts = load_contracts()
        self._shards: dict[str, ShardState] = {}
        self._lock = threading.RLock()
        self._draining = threading.Event()
        self._phase, self._reason = "starting", ""
        self._began_at = time.monotonic()
        self._reported_at = 0.0
        self._counts = {"messages": 0, "rows": 0, "rejects": 0, "duplicates": 0}

    # --- what it is made of, each made when first needed

    @cached_property
    def streams(self) -> tuple[str, ...]:
        return tuple(topic.stream for topic in self._contracts.topics())

    @cached_property
    def vault(self) -> SqliteVault:
        return open_vault(self.settings.vault_uri, time.monotonic)

    @cached_property
    def producer(self) -> AlertProducer:
        return AlertProducer(self.settings)

    @cached_property
    def lake(self) -> Lake | None:
        if self.settings.branches == "alerts":
            return None
        tables = [self._lake_table(table) for table in self._contracts.tables() if table.fed_by]
        return Lake(self.settings, tables, self._catch_up)

    def _lake_table(self, table: TableContract) -> LakeTable:
        def opened():
            return open_table(self.settings, table.name)

        return LakeTable(table.name, frozenset(table.fed_by), arrow_schema(table), opened, self._rows_of(table))

    def _rows_of(self, table: TableContract) -> Callable[[StreamBatch], pa.Table]:
        if table.name == REJECTS:
            return lambda batch: reject_rows(batch, self.vault, table, _now_us())
        if table.name == DUPLICATES:
            return lambda batch: duplicate_rows(batch, table, _now_us())
        return lambda batch: table_rows(batch, table, _now_us())

    def _restorer(self) -> Restorer:
        return Restorer(self.settings, self._contracts, self.vault, Analytics(self.settings))

    # --- shards

    def plan_shards(self, until_end: bool) -> list[Shard]:
        """One shard of the partitions this process owns; with `until_end`, one that ends where the topics end now."""
        until: tuple[tuple[str, int, int], ...] = ()
        if until_end:
            facts = self._insist(lambda: read_topic_facts(self.settings, self.streams)) or {}
            ranges = [(s, p, high) for s, fact in facts.items() for p, (_, high) in fact.ranges.items()]
            until = tuple(item for item in ranges if self._owns(item[1]))
        return [Shard("shard-0", self.streams, self.settings.partitions, until)]

    def _owns(self, partition: int) -> bool:
        return self.settings.partitions is None or partition in self.settings.partitions

    def shard(self, shard: Shard, wanted: Positions) -> ShardState | None:
        """The open shard at the wanted positions; opened from the lake where it stands elsewhere. None on drain."""
        with self._lock:
            state = self._shards.get(shard.id)
            if not self._draining.is_set() and (state is None or (wanted and wanted != state.reader.positions)):
                state = self._insist(lambda: self._open(shard))
            if state is None or self._draining.is_set():
                return None
            if self.lake is not None:
                self.lake.raise_if_broken()
            self._phase, self._reason = "running", ""
            self._report(state)
            return state

    def steps(self, shard_id: str, stream: str) -> StreamSteps:
        return self._shards[shard_id].steps[stream]

    def _open(self, shard: Shard) -> ShardState:
        """Positions from the tables' vectors, state from their rows, whatever the runner remembers."""
        if shard.id in self._shards:
            self._shards.pop(shard.id).reader.close()
        self._reason = f"reading positions and state from the lake at {self.settings.s3_endpoint}"
        restorer = self._restorer()
        facts = read_topic_facts(self.settings, shard.streams)
        starts = restorer.starts(facts)
        owned = {(s, p): offset for s in starts for p, offset in starts[s].items() if self._owns(p)}
        state = ShardState(shard, facts, PartitionReader(self.settings, facts, owned))
        for stream in shard.streams:
            state.steps[stream] = restorer.steps(facts[stream], starts[stream])
        if self.settings.branches != "lake" and SCORED_STREAM in shard.streams:
            state.monitor, state.known_alerts = restorer.monitor(facts, starts, self._draining)
        self._shards[shard.id] = state
        if self.lake is not None:
            self.lake.starts_at({(facts[s].topic_id, p): offset for (s, p), offset in owned.items()})
        return state

    # --- alerts

    def decide_and_send_alerts(self, shard_id: str, batch: StreamBatch) -> None:
        """Decide, send, and return when the broker has every alert: the lake must never be ahead of them."""
        state = self._shards[shard_id]
        state.expect(batch.messages)
        if state.monitor is None or batch.messages.stream != SCORED_STREAM or not batch.rows.num_rows:
            return
        now = datetime.now(UTC)
        decided = state.monitor.observe(monitored(batch), now)
        for stream, withheld in ((ALERTS, False), (WITHHELD, True)):
            due = [a for a in decided if bool(a.withheld_because) is withheld]
            new = [a for a in due if state.known_alerts.is_new(stream, a.alert_id)]
            self._send(stream, new, batch.messages.topic_id, now)

    def _send(self, stream: str, alerts: list[Alert], topic_id: str, processed_at: datetime) -> None:
        if alerts:
            alerted_at = datetime.now(UTC)
            messages = [(alert.key, encode(alert, topic_id, processed_at, alerted_at)) for alert in alerts]
            self.producer.send(self.settings.topic(stream), messages)

    # --- the lake

    def hand_to_lake(self, batch: StreamBatch) -> None:
        """Give the batch to the committers; fresh batches never wait for them."""
        lake = self.lake
        if lake is None:
            return
        self._count(batch)
        backlog = bool(len(batch.messages)) and time.time() - batch.messages.appended_ms[-1] / 1000 > _FRESH_S
        alone = self.settings.branches == "lake"
        if alone:
            lake.offer(batch, may_wait=lambda: True, patience_s=float("inf"))
        else:
            lake.offer(batch, may_wait=lambda: backlog and lake.progresses)

    def _count(self, batch: StreamBatch) -> None:
        self._counts["messages"] += len(batch.messages)
        self._counts["rows"] += batch.rows.num_rows
        self._counts["rejects"] += len(batch.rejects)
        self._counts["duplicates"] += len(batch.duplicates)

    def _catch_up(self, lake: Lake) -> None:
        """Read Kafka again from the tables' vectors, with identities of its own, until the live position is met."""
        lake.wait_until_idle()
        while not lake.draining.is_set():
            try:
                return self._catch_up_once(lake)
            except _UNAVAILABLE as error:
                _LOG.warning("the lake's catch-up waits: %s", error)
                lake.draining.wait(_RETRY_S)

    def _catch_up_once(self, lake: Lake) -> None:
        restorer = self._restorer()
        facts = read_topic_facts(self.settings, self.streams)
        starts = restorer.starts(facts)
        steps = {stream: restorer.steps(facts[stream], starts[stream]) for stream in self.streams}
        owned = {(s, p): offset for s in starts for p, offset in starts[s].items() if self._owns(p)}
        reader = PartitionReader(self.settings, facts, owned)
        held: list[StreamBatch] = []
        try:
            while not lake.draining.is_set():
                began = time.monotonic()
                if not held:
                    messages = reader.read(wait_s=0.1, linger_s=0.0, limit=_CATCH_UP_MESSAGES)
                    held = [steps[read.stream].all(read) for read in messages]
                held = [rest for batch in held if (rest := lake.put(batch)).messages.intervals]
                # One interpreter serves both: half of its time is left to the live path and its alerts.
                lake.draining.wait(min(time.monotonic() - began, _LONGEST_YIELD_S))
                if lake.met({(facts[s].topic_id, p): offset for (s, p), offset in reader.positions.items()}):
                    return
        finally:
            reader.close()

    def _report(self, state: ShardState, least_pause_s: float = _REPORT_S) -> None:
        """Let lag tools see how far the lake is."""
        now = time.monotonic()
        if self.lake is not None and now - self._reported_at >= least_pause_s:
            self._reported_at = now
            state.reader.report(self._settled(state))

    def _settled(self, state: ShardState) -> Positions:
        stream_of = {fact.topic_id: stream for stream, fact in state.facts.items()}
        reached = self.lake.settled().items() if self.lake else ()
        return {(stream_of[t], p): o for (t, p), o in reached if t in stream_of and self._owns(p)}

    # --- life and health

    def drain(self) -> None:
        """Stop reading; what was read is still decided, sent and committed (`close`)."""
        self._phase = "draining"
        self._draining.set()

    def close(self, timeout_s: float) -> bool:
        """Commit what is held and end. False if the lake could not take it in time: it is read again at next start."""
        self._draining.set()
        drained = self.lake.drain(timeout_s) if self.lake else True
        for state in self._shards.values():
            self._report(state, least_pause_s=0.0)
            state.reader.close()
        self._phase = "drained" if drained else "stopped"
        return drained

    def failed(self, error: BaseException) -> None:
        self._phase, self._reason = "failed", told(error)

    @contextmanager
    def noting_failure(self):
        """Keep the exception itself: a runner may hand on no more than its text."""
        try:
            yield
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def status(self) -> dict[str, object]:
        """What `run/stream.json` says. Numbers and names only."""
        shards = list(self._shards.values())
        lake = self.__dict__.get("lake")
        reason = self._reason or (lake.waiting_for if lake else None) or ""
        read = {at: offset for shard in shards for at, offset in shard.reader.positions.items()}
        ends = {at: end for shard in shards for at, end in shard.reader.ends().items()}
        done = {at: offset for shard in shards for at, offset in self._settled(shard).items()} if lake else read
        return {
            "state": "waiting" if reason and self._is_slow() else self._phase,
            "reason": reason,
            "read": _by_stream(read),
            "next": _by_stream(done),
            "end": _by_stream(ends),
            "lag": sum(max(0, end - done.get(at, 0)) for at, end in ends.items()) if ends else None,
            "counts": dict(self._counts),
            "alerts": dict(self.producer.sent) if "producer" in self.__dict__ else {},
            "lake": lake.status() if lake else None,
        }

    def _is_slow(self) -> bool:
        """Whether a reason to wait is worth a word: at once while running, after a moment while starting."""
        began_long_ago = time.monotonic() - self._began_at > _PROMPT_S
        return self._phase == "running" or (self._phase == "starting" and began_long_ago)

    def _insist(self, action: Callable[[], T]) -> T | None:
        """Try until the lake, the vault and the broker answer. None when the process drains before they do."""
        while not self._draining.is_set():
            try:
                return action()
            except _UNAVAILABLE as error:
                self._reason = str(error)
                _LOG.warning("the start waits: %s", error)
                self._draining.wait(_RETRY_S)
        return None


def told(error: BaseException) -> str:
    """An error in words that may be logged: the text of our own exceptions, of others only kind and place, for theirs
    may hold values."""
    kind = type(error)
    if kind.__module__.partition(".")[0] in ("pipelines", "warehouse"):
        return f"{kind.__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind.__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else kind.__name__


def monitored(batch: StreamBatch) -> pa.Table:
    """The rows as the rules want them: each with its subject's token and its position."""
    messages, index = batch.messages, batch.row_index
    return (
        batch.rows.append_column("subject_token", batch.tokens.take(pa.array(index)))
        .append_column("kafka_partition", pa.array(messages.partitions[index]))
        .append_column("kafka_offset", pa.array(messages.offsets[index]))
        .append_column("kafka_time", pa.array(messages.appended_ms[index] * 1000, pa.timestamp("us", "UTC")))
    )


def _now_us() -> int:
    return time.time_ns() // 1000


def _by_stream(positions: Positions) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (stream, partition), offset in sorted(positions.items()):
        nested.setdefault(stream, {})[str(partition)] = offset
    return nested


_PROCESS: dict[tuple[str, str, str], ProcessState] = {}
_PROCESS_LOCK = threading.Lock()


def process_state(settings: Settings) -> ProcessState:
    """The process's state for these settings: one, whoever asks."""
    key = (settings.kafka_bootstrap, settings.topic_prefix, settings.namespace)
    with _PROCESS_LOCK:
        if key not in _PROCESS:
            _PROCESS[key] = ProcessState(settings)
        return _PROCESS[key]
