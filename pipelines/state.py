"""What one process remembers: its shards and their streams, its lake, its alert producer.

Holds: when a shard is opened, what a batch must meet, the lake's catching up, drain and status. Process-wide, because
a runner makes several instances of one DoFn and drops them as it likes.
Does not hold: what a step computes (stream_steps.py), what a start reads (restore.py), the queue and threads of the
lake (lake.py), or Beam.

State is rebuilt from the lake and never kept anywhere else. It knows the next position it expects: a shard that is
asked for from another position is opened again, and a batch that does not begin where it should is refused.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import pyarrow as pa

from pipelines.alert_producer import AlertProducer, AlertUndeliveredError
from pipelines.alerts.bedside import ADMISSIONS
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.catch_up import CatchUp
from pipelines.committer import LakeTable
from pipelines.forgetting import Forgetting
from pipelines.lake import Lake
from pipelines.lake_rows import duplicate_rows, raw_rows, reject_rows, table_rows, withheld_rows
from pipelines.outages import NO_MESSAGES_FAULT, T, told, tried
from pipelines.ownership import Ownership
from pipelines.poison import PoisonWatch
from pipelines.restore import (
    CONSENT_WITHHELD,
    DUPLICATES,
    RAW,
    REJECTS,
    Restorer,
    open_table,
    refuse_other_tokens,
)
from pipelines.revocations import DELETIONS, RequestUnsentError, deletion_requests
from pipelines.shards import OWN, STAND_IN, Opening, ShardOpener, ShardState
from pipelines.source import GroupOffsets, Positions, Shard, by_topic_id, read_topic_facts
from pipelines.stream_steps import StreamSteps
from pipelines.watch import Watch
from warehouse.analytics import Analytics
from warehouse.consent.filters import REGISTRY, REGISTRY_TABLE
from warehouse.contract import TableContract, load_contracts
from warehouse.coordination import Coordination, coordination_scope, coordination_uri
from warehouse.erasure.ledger import Ledger
from warehouse.identity import Tokenizer
from warehouse.object_store import require_answer
from warehouse.settings import Settings
from warehouse.tables import arrow_schema
from warehouse.vault import SqliteVault, VaultUnavailableError, open_vault

_LOG = logging.getLogger(__name__)

CONSENT_GROUP = "consent-processor"
"""Under it the broker sees how far the registry of consent is; what it knows comes from the lake."""
CONSENT_COMMIT_S = 0.2
_PROMPT_S = 8.0
_CARE_S = 10.0
_REPORT_S = 1.0
_FRESH_S = 5.0
"""A batch appended longer ago than this is backlog: its alerts are late already, so it may wait for a busy lake."""


class ProcessState:
    """Everything process-wide. Made once by `process_state`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failure: BaseException | None = None
        self._contracts = load_contracts(own=settings.contracts)
        self._shards: dict[str, ShardState] = {}
        self._openings: dict[str, Opening] = {}
        self._lock = threading.RLock()
        self._draining = threading.Event()
        self._phase, self._reason, self._doing = "starting", "", ""
        self._began_at = time.monotonic()
        self._reported_at = 0.0
        self._poison = PoisonWatch(settings.home / "run" / "poison.json")
        self._home: frozenset[int] = frozenset()
        self._ownership: Ownership | None = None
        self._forgetting: dict[str, tuple[ShardState, Forgetting]] = {}
        self._counts = {"messages": 0, "rows": 0, "rejects": 0, "duplicates": 0, "withheld": 0}

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
    def watch(self) -> Watch:
        return Watch(self.settings, lambda: self.producer)

    @cached_property
    def lake(self) -> Lake | None:
        if self.settings.branches == "alerts":
            return None
        tables = [self._lake_table(table) for table in self._contracts.tables() if table.fed_by]
        catch_up = CatchUp(self.settings, self.streams, self._restorer, lambda: self._owned, self._poison)
        return Lake(self.settings, tables, catch_up.run)

    def _lake_table(self, table: TableContract) -> LakeTable:
        def opened():
            return open_table(self.settings, table.name)

        # What sessions ask of consent, they ask of the table: a revoke does not wait for others.
        waits = CONSENT_COMMIT_S if table.name == REGISTRY_TABLE else float("inf")
        return LakeTable(table.name, frozenset(table.fed_by), arrow_schema(table), opened, self._rows_of(table), waits)

    def _rows_of(self, table: TableContract) -> Callable[[StreamBatch], pa.Table]:
        if table.name == REJECTS:
            return lambda batch: reject_rows(batch, self.vault, table, _now_us())
        if table.name == DUPLICATES:
            return lambda batch: duplicate_rows(batch, table, _now_us())
        if table.name == RAW:
            return lambda batch: raw_rows(batch, self.vault, table, _now_us())
        if table.name == CONSENT_WITHHELD:
            return lambda batch: withheld_rows(
                batch, table, self._contracts[batch.messages.stream].consented, _now_us()
            )
        if table.name == REGISTRY_TABLE and DELETIONS in self._contracts:
            return lambda batch: self._registry_rows(batch, table)
        return lambda batch: table_rows(batch, self.vault, table, _now_us())

    def _registry_rows(self, batch: StreamBatch, table: TableContract) -> pa.Table:
        """Rows of the registry, once the broker has the requests that their revokes lead to: the table's vector says of
        both how far they are. In the committer's thread, so that no alert waits for it."""
        requests = deletion_requests(batch, self.streams)
        if requests:
            try:
                self._requests_producer.send(self.settings.topic(DELETIONS), requests)
            except AlertUndeliveredError:
                raise RequestUnsentError(f"topic {DELETIONS} does not take requests that follow from revokes") from None
        return table_rows(batch, self.vault, table, _now_us())

    @cached_property
    def _consents_group(self) -> GroupOffsets | None:
        if REGISTRY not in self._contracts:
            return None
        return GroupOffsets(self.settings, CONSENT_GROUP, REGISTRY)

    @cached_property
    def _requests_producer(self) -> AlertProducer:
        return AlertProducer(self.settings)

    @cached_property
    def coordination(self) -> Coordination:
        # The home and not the process: who starts again finds its leases its own.
        owner = f"{socket.gethostname()}:{self.settings.home}"
        return Coordination(coordination_uri(self.settings), coordination_scope(self.settings), owner)

    @cached_property
    def _opener(self) -> ShardOpener:
        rules, scores = self.watch.rules, self.watch.scores
        return ShardOpener(
            self.settings, self._restorer, self.coordination, self._draining, lambda: rules.packs, scores.monitor
        )

    def _restorer(self) -> Restorer:
        require_answer(self.settings)
        refuse_other_tokens(self.settings, self.vault, self._contracts)
        return Restorer(self.settings, self._contracts, self.vault, Analytics(self.settings, whole=True))

    # --- shards

    def plan_shards(self, until_end: bool) -> list[Shard]:
        """The shards of this process; with `until_end` one, that ends where the topics end now and shares with nobody.

        Waits until the broker says which partitions there are.
        """
        facts = self._insist(lambda: read_topic_facts(self.settings, self.streams)) or {}
        ranges = [(s, p, high) for s, fact in facts.items() for p, (_, high) in fact.ranges.items()]
        every = frozenset(p for _, p, _ in ranges)
        home = every if self.settings.partitions is None else every & set(self.settings.partitions)
        self._home = home
        if until_end:
            return [Shard(OWN, self.streams, tuple(item for item in ranges if item[1] in home))]
        if self.settings.takeover or self.settings.branches == "alerts":
            self._ownership = Ownership(self.coordination, home, every, time.monotonic, self._record_alert_positions)
            self._ownership.start(shares=self.settings.takeover)
        return [Shard(OWN, self.streams)] + [Shard(STAND_IN, self.streams)] * self.settings.takeover

    def _partitions_of(self, shard: Shard) -> frozenset[int]:
        """Those that the shard is to have now."""
        if self._ownership is None:
            return self._home
        return self._ownership.stand_in if shard.id == STAND_IN else self._ownership.home

    @property
    def _owned(self) -> frozenset[int]:
        """The partitions of every open shard."""
        return frozenset().union(*(state.partitions for state in self._shards.values()))

    def shard(self, shard: Shard, wanted: Positions) -> ShardState | None:
        """The open shard at the wanted positions; opened from the lake where it stands elsewhere. None where there is
        nothing to read now."""
        with self._lock:
            if self._draining.is_set():
                return None
            if self.lake is not None:
                self.lake.raise_if_broken()
            state = self._current(shard, wanted)
            if shard.id == OWN:
                self._note_phase(state)
            if state is not None:
                self._report(state)
                self._forget_erased(state)
                self.watch.turn(state)
            return None if self._draining.is_set() else state

    def _forget_erased(self, state: ShardState) -> None:
        """Of who was erased nothing stays in memory. A shard that is opened anew is looked through anew."""
        known = self._forgetting.get(state.shard.id)
        if known is None or known[0] is not state:
            admissions = self._contracts[ADMISSIONS].topic
            system = admissions.key_system if admissions else ""
            try:
                ledger = Ledger(self.vault, time.monotonic)
            except VaultUnavailableError:  # no alert waits for the vault: asked again at the next turn
                return
            patients = Tokenizer(self.vault.token_key(), system, ledger)
            known = self._forgetting[state.shard.id] = state, Forgetting(ledger, patients, time.monotonic)
        known[1].turn(state)

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    def _note_phase(self, state: ShardState | None) -> None:
        if state is not None:
            self._phase, self._reason = "running", self._care()
        elif self._ownership is not None and self._ownership.elsewhere:
            self._phase, self._reason = "running", "stands by: another process reads its partitions"

    def _care(self) -> str:
        if not self._poison.is_careful:
            return ""
        return f"going carefully: one of {self._poison.suspected} messages may be what ended the runs before"

    def _current(self, shard: Shard, wanted: Positions) -> ShardState | None:
        partitions = self._partitions_of(shard)
        state = self._shards.get(shard.id)
        self._drop_opening(shard, unless=frozenset() if state and state.partitions == partitions else partitions)
        if state is not None and state.partitions == partitions:
            if not wanted or wanted == state.reader.positions:
                return state
            return self._insist(lambda: self._install(shard, self._opener.open(shard, partitions)))
        if not partitions:
            self._close(shard)
            return None
        if state is None and shard.id == OWN:
            self._doing = f"reading positions and state from the lake at {self.settings.s3_endpoint}"
            return self._insist(lambda: self._install(shard, self._opener.open(shard, partitions)))
        return self._opened_beside(shard, partitions) or state

    def _opened_beside(self, shard: Shard, partitions: frozenset[int]) -> ShardState | None:
        """The shard with these partitions once it is open. What runs goes on meanwhile, alerts above all."""
        opening = self._openings.get(shard.id)
        if opening is None:
            self._openings[shard.id] = self._begin_opening(shard, partitions)
            return None
        opened = opening.result()
        if opened is None:
            return None
        del self._openings[shard.id]
        return self._install(shard, opened)

    def _drop_opening(self, shard: Shard, unless: frozenset[int] = frozenset()) -> None:
        """An opening stands for the leases of its moment: one that is not wanted now must not be found later."""
        opening = self._openings.get(shard.id)
        if opening is not None and opening.partitions != unless:
            del self._openings[shard.id]
            opening.drop()

    def _begin_opening(self, shard: Shard, partitions: frozenset[int]) -> Opening:
        _LOG.warning("opening partitions %s beside those that are read", sorted(partitions))

        def tell(error: Exception) -> None:
            _LOG.warning("partitions %s wait: %s", sorted(partitions), error)

        return Opening(lambda dropped: tried(lambda: self._opener.open(shard, partitions), dropped, tell), partitions)

    def _install(self, shard: Shard, opened: ShardState) -> ShardState:
        """Let the shard read from where it was opened; what it no longer has is another process's to commit."""
        self._close(shard, kept=opened.partitions)
        self._shards[shard.id] = opened
        if shard.id == OWN:
            self._poison.begins(opened.places())
        if self.lake is not None:
            self.lake.starts_at(opened.places())
            self.lake.hurry(self._poison.is_careful)
        return opened

    def _close(self, shard: Shard, kept: frozenset[int] = frozenset()) -> None:
        closed = self._shards.pop(shard.id, None)
        if closed is None:
            return
        closed.reader.close()
        if self.lake is not None:
            self.lake.give_up({(t, p) for t, p in closed.places() if p not in kept})

    def pieces(self, state: ShardState, messages: MessageBatch) -> Iterator[StreamBatch]:
        """What was read, as it is to be handled: at once, or with care where a message is under suspicion."""
        for piece in self._poison.takes(messages):
            if self._poison.is_convicted(piece):
                yield state.steps[piece.stream].set_aside(piece)
            else:
                yield StreamBatch(piece)
            if self._poison.is_careful and self.lake is not None:
                self._wait_for_the_lake(self.lake, piece)

    def _wait_for_the_lake(self, lake: Lake, piece: MessageBatch) -> None:
        """Until the lake has the piece, so that a death of a committer is blamed on no other. Not for ever: alerts
        must go on where it is away."""
        ends = {(piece.topic_id, p): end for p, (_, end) in piece.intervals.items()}
        deadline = time.monotonic() + _CARE_S
        while any(lake.settled().get(at, 0) < end for at, end in ends.items()) and time.monotonic() < deadline:
            lake.raise_if_broken()
            self._draining.wait(0.01)

    def steps(self, shard_id: str, stream: str) -> StreamSteps:
        return self._shards[shard_id].steps[stream]

    # --- alerts

    def decide_and_send_alerts(self, shard_id: str, batch: StreamBatch) -> None:
        """Decide, send, and return when the broker has every alert: the lake must never be ahead of them."""
        state = self._shards[shard_id]
        state.expect(batch.messages)
        self.watch.show(state, batch)
        state.note_decided(batch.messages)

    def _record_alert_positions(self) -> None:
        """For a process that does not commit: nothing else says how far its alerts are."""
        if self.settings.branches == "alerts":
            for state in list(self._shards.values()):
                self.coordination.record_alert_positions(by_topic_id(state.facts, dict(state.decided)))

    # --- the lake

    def hand_to_lake(self, shard_id: str, batch: StreamBatch) -> None:
        """Give the batch to the committers, without what consent keeps out; fresh batches never wait for them. Here and
        not before: no alert depends on consent."""
        lake = self.lake
        if lake is None:
            return
        if not batch.is_set_aside:
            batch = self.steps(shard_id, batch.messages.stream).withhold(batch, _now_us())
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
        self._counts["withheld"] += len(batch.withheld)

    def _report(self, state: ShardState, least_pause_s: float = _REPORT_S) -> None:
        """Let lag tools see how far the lake is."""
        now = time.monotonic()
        if self.lake is not None and now - self._reported_at >= least_pause_s:
            self._reported_at = now
            settled = self._settled(state)
            state.reader.report(settled)
            if self._consents_group is not None:
                self._consents_group.report(settled)
            self._poison.passed(self.lake.settled())
            self.lake.hurry(self._poison.is_careful)

    def _settled(self, state: ShardState) -> Positions:
        stream_of = {fact.topic_id: stream for stream, fact in state.facts.items()}
        reached = self.lake.settled().items() if self.lake else ()
        return {(stream_of[t], p): o for (t, p), o in reached if t in stream_of and p in state.partitions}

    # --- life and health

    def drain(self) -> None:
        """Stop reading; what was read is still decided, sent and committed (`close`)."""
        self._phase = "draining"
        self._draining.set()

    def close(self, timeout_s: float) -> bool:
        """Commit what is held and end. False if the lake could not take it in time: it is read again at next start."""
        self._draining.set()
        for opening in self._openings.values():
            opening.drop()
        for state in self._shards.values():
            self.watch.scores.settle(state)
        drained = self.lake.drain(timeout_s) if self.lake else True
        for state in self._shards.values():
            self._report(state, least_pause_s=0.0)
            state.reader.close()
        if consents := self.__dict__.get("_consents_group"):
            consents.close()
        if self._ownership is not None:
            self._ownership.end()
        self._poison.ends()
        self._phase = "drained" if drained else "stopped"
        return drained

    def keep_what_was_read(self, timeout_s: float) -> None:
        """Commit what was read before a position was lost: Kafka may no longer have it."""
        if self.lake is not None and not self.lake.drain(timeout_s):
            _LOG.warning("not everything that was read could be committed")

    def failed(self, error: BaseException) -> None:
        if isinstance(error, NO_MESSAGES_FAULT):
            self._poison.ends()
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
        trouble = next((shard.reader.trouble for shard in shards if shard.reader.trouble), None)
        reason = self._reason or trouble or (lake.waiting_for if lake else None) or ""
        read = {at: offset for shard in shards for at, offset in shard.reader.positions.items()}
        ends = {at: end for shard in shards for at, end in shard.reader.ends().items()}
        done = {at: offset for shard in shards for at, offset in self._settled(shard).items()} if lake else read
        return {
            "state": "waiting" if reason and self._is_slow() else self._phase,
            "reason": reason or (self._doing if self._phase == "starting" else ""),
            "read": _by_stream(read),
            "next": _by_stream(done),
            "end": _by_stream(ends),
            "lag": sum(max(0, end - done.get(at, 0)) for at, end in ends.items()) if ends else None,
            "counts": dict(self._counts),
            "poison": {"suspected": self._poison.suspected, "convicted": self._poison.convicted},
            "partitions": self._ownership.said() if self._ownership else None,
            "alerts": dict(self.producer.sent) if "producer" in self.__dict__ else {},
            "lake": lake.status() if lake else None,
            "rules": self.watch.rules.said(),
            "scores": self.watch.scores.said(),
        }

    def _is_slow(self) -> bool:
        """Whether a reason to wait is worth a word: at once while running, after a moment while starting."""
        began_long_ago = time.monotonic() - self._began_at > _PROMPT_S
        return self._phase == "running" or (self._phase == "starting" and began_long_ago)

    def _insist(self, action: Callable[[], T]) -> T | None:
        """Try until the lake, the vault and the broker answer. None when the process drains before they do."""

        def tell(error: Exception) -> None:
            self._reason = str(error)
            _LOG.warning("the start waits: %s", error)

        return tried(action, self._draining, tell)


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
