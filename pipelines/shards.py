"""An open shard: where its reader stands and what each of its streams remembers; and how one is opened.

Holds: `ShardState`, what a batch must meet to be taken, opening from the lake, opening beside what runs.
Does not hold: which partitions a shard has (ownership.py), what a start asks of the lake (restore.py), or when a shard
is opened (state.py).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from pipelines.alerts.bedside import ADMISSIONS, Bedsides
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.clinical.monitor import Monitor, WardMonitor
from pipelines.clinical.rule_packs import PacksInForce
from pipelines.clinical.sepsis.stream_score import SepsisMonitor
from pipelines.restore import SCORED_STREAM, KnownAlerts, Restorer, as_positions, owned_part
from pipelines.source import PartitionReader, Positions, Shard, TopicFacts, by_topic_id, read_topic_facts
from pipelines.stream_steps import StreamSteps
from warehouse.coordination import Coordination
from warehouse.offsets import GapError
from warehouse.settings import Settings

OWN, STAND_IN = "own", "stand-in"
"""The shard of the partitions given to this process, and the one of those it reads for a process that died."""


class ShardState:
    """What one shard reads and remembers. `partitions`: the partition numbers it has, of all its streams."""

    def __init__(
        self, shard: Shard, partitions: frozenset[int], facts: dict[str, TopicFacts], reader: PartitionReader
    ) -> None:
        self.shard, self.partitions, self.facts, self.reader = shard, partitions, facts, reader
        self.steps: dict[str, StreamSteps] = {}
        self.monitor: WardMonitor | None = None
        self.monitors: list[Monitor] = []
        self.scores: SepsisMonitor | None = None
        self.known_alerts = KnownAlerts(set())
        self.bedsides = Bedsides()
        self._expected: Positions = dict(reader.positions)
        self.decided: Positions = dict(reader.positions)

    def take_admissions(self, batch: StreamBatch) -> None:
        """Who lies where, as rows of `adt.events` tell it; and whose token is whose."""
        assert batch.rows is not None
        self.bedsides.take(batch.rows)
        if self.monitor is not None and batch.tokens is not None and batch.subjects is not None:
            for token, patient in zip(
                *(each.dictionary.to_pylist() for each in (batch.tokens, batch.subjects)), strict=True
            ):
                self.monitor.name(token, patient)

    def people(self) -> list[str]:
        """The tokens of everybody of whom something is remembered."""
        found = {token for steps in self.steps.values() for token in steps.people()}
        for memory in (self.monitor, self.scores):
            found.update(memory.people() if memory is not None else ())
        return sorted(found)

    def forget(self, tokens: Collection[str]) -> None:
        """Nothing is remembered of these any more."""
        for memory in (self.monitor, self.scores, *self.steps.values()):
            if memory is not None:
                memory.forget(tokens)

    def expect(self, messages: MessageBatch) -> None:
        """Refuse a batch that does not begin where the state ends: state may neither miss nor repeat a position."""
        for partition, (start, end) in messages.intervals.items():
            expected = self._expected[messages.stream, partition]
            if start != expected:
                where = f"{messages.stream} partition {partition}"
                raise GapError(f"{where}: state ends at {expected}, the batch begins at {start}; start again")
            self._expected[messages.stream, partition] = end

    def note_decided(self, messages: MessageBatch) -> None:
        """Every alert that these messages give rise to is on its topic."""
        for partition, (_, end) in messages.intervals.items():
            self.decided[messages.stream, partition] = end

    def places(self) -> dict[tuple[str, int], int]:
        """(topic id, partition) -> the next offset to read."""
        return by_topic_id(self.facts, self.reader.positions)

    def ended(self) -> bool:
        """Whether a bounded run has read all it was to read."""
        until = self.shard.until
        return bool(until) and all(self.reader.positions.get((s, p), end) >= end for s, p, end in until)


class ShardOpener:
    """Opens shards: positions from the tables' vectors, state from their rows, whatever the runner remembers."""

    def __init__(
        self,
        settings: Settings,
        restorer: Callable[[], Restorer],
        coordination: Coordination,
        stop: threading.Event,
        packs: Callable[[], PacksInForce],
        scores: Callable[[], SepsisMonitor | None],
    ) -> None:
        self._settings, self._restorer, self._packs, self._scores = settings, restorer, packs, scores
        self._coordination, self._stop = coordination, stop

    def open(self, shard: Shard, partitions: frozenset[int]) -> ShardState:
        """Raises that the lake, the vault or the broker is not there, or that positions do not fit."""
        restorer = self._restorer()
        facts = read_topic_facts(self._settings, shard.streams)
        starts = self._not_beyond_alerts(restorer.starts(facts), facts)
        owned = owned_part(starts, partitions)
        state = ShardState(shard, partitions, facts, PartitionReader(self._settings, facts, as_positions(owned)))
        try:
            for stream in shard.streams:
                state.steps[stream] = restorer.steps(facts[stream], owned[stream])
            if self._settings.branches != "lake" and SCORED_STREAM in shard.streams:
                state.scores = self._scores()
                state.monitor, state.known_alerts = restorer.monitor(
                    facts, starts, owned, self._stop, self._packs(), state.scores
                )
                state.monitors.append(state.monitor)
                if ADMISSIONS in shard.streams:
                    for batch in restorer.admissions(facts[ADMISSIONS], owned[ADMISSIONS], self._stop):
                        state.take_admissions(batch)
            restorer.confirm(facts)
        except BaseException:
            state.reader.close()
            raise
        return state

    def _not_beyond_alerts(
        self, starts: dict[str, dict[int, int]], facts: dict[str, TopicFacts]
    ) -> dict[str, dict[int, int]]:
        """Where another process commits, the lake may be ahead of the alerts: then those are decided from where they
        end. A silent database is waited for, since what it knows cannot be guessed."""
        if self._settings.branches != "alerts":
            return starts
        watched = {stream: offsets for stream, offsets in starts.items() if stream in WardMonitor.streams}
        for stream, offsets in watched.items():
            decided = self._coordination.alert_positions(facts[stream].topic_id)
            watched[stream] = {p: min(offset, decided.get(p, offset)) for p, offset in offsets.items()}
        return {**starts, **watched}


class Opening(threading.Thread):
    """A shard being opened beside what runs, so that no alert waits for it. Tries until it succeeds or is dropped."""

    def __init__(self, opener: Callable[[threading.Event], ShardState | None], partitions: frozenset[int]) -> None:
        super().__init__(name="opening a shard", daemon=True)
        self.partitions = partitions
        self._opener = opener
        self._dropped, self._lock = threading.Event(), threading.Lock()
        self._error: BaseException | None = None
        self._opened: ShardState | None = None
        self.start()

    def run(self) -> None:
        try:
            opened = self._opener(self._dropped)
        except BaseException as error:
            self._error = error
            return
        with self._lock:
            self._opened = opened
            self._close_if_dropped()

    def result(self) -> ShardState | None:
        """The open shard once there is one. Raises what the opening raised."""
        if self.is_alive():
            return None
        if self._error is not None:
            raise self._error
        return self._opened

    def drop(self) -> None:
        """Nobody wants it any more: what it opened is closed, now or as soon as it is open."""
        with self._lock:
            self._dropped.set()
            self._close_if_dropped()

    def _close_if_dropped(self) -> None:
        if self._dropped.is_set() and self._opened is not None:
            self._opened.reader.close()
            self._opened = None
