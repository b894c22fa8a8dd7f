"""What a starting stream must know, read from the lake: positions, identities, patients, alerts already decided.

Holds: the order in which it is read, the alerts that stand on Kafka behind their table, and the admissions there.
Does not hold: the questions asked of the tables (warehouse/history.py), nor the state itself (state.py).

Everything is as of one vector. What lies at or above it is read from Kafka again and must meet the state as it was;
so an alert above it is not state, but its id is kept: it will be decided again and is not sent twice.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from pipelines.batch import StreamBatch
from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.rule_packs import PacksInForce
from pipelines.clinical.sepsis.stream_score import STREAMS as SCORED_STREAMS
from pipelines.clinical.sepsis.stream_score import SepsisMonitor
from pipelines.deduplicate import NOTHING_KNOWN, FirstPositions
from pipelines.known_outcomes import KnownOutcomes
from pipelines.rules_before import AlertsBefore, rebuilt
from pipelines.scores_before import rebuild_scores
from pipelines.source import PartitionReader, Positions, TopicFacts
from pipelines.stream_steps import StreamSteps
from warehouse import history
from warehouse.analytics import Analytics
from warehouse.catalog import KEY_SYSTEM_PROPERTY, open_catalog, pinned_properties
from warehouse.commit import FencedTable, StoreUnavailableError
from warehouse.consent.histories import Histories
from warehouse.consent.registry import read_histories
from warehouse.contract import Contracts, StreamContract
from warehouse.erasure.ledger import Ledger
from warehouse.identity import Tokenizer, key_fingerprint
from warehouse.offsets import Vector, least, started
from warehouse.outcomes import duplicates_within, rows_within
from warehouse.settings import Settings
from warehouse.vault import SqliteVault, VaultError

SCORED_STREAM = "device.vitals"
REJECTS, DUPLICATES, RAW = "rejects", "duplicates", "raw_messages"
CONSENT_WITHHELD = "consent_withheld"
ALERTS, WITHHELD = "clinical.alerts", "clinical.alerts.withheld"
TOKEN_KEY_PROPERTY = "wardstream.token-key"
"""Of the namespace: the fingerprint of the key with which its tables' tokens are made."""
PATIENCE_S = 3.0
"""How long one call to the lake tries by itself before it says that it waits."""

Starts = dict[str, dict[int, int]]
"""stream -> partition -> the offset from which every table it feeds misses nothing"""
Vectors = dict[str, dict[int, int]]
"""table -> partition -> the offset from which it misses something of one topic"""


@dataclass(frozen=True, slots=True)
class KnownAlerts:
    """Ids already on the topics whose triggering reading will be read again: (stream, alert id)."""

    ids: set[tuple[str, str]]

    def is_new(self, stream: str, alert_id: str) -> bool:
        """Whether the topic lacks it. What was sent in time and is decided again too late is not withheld as well."""
        return (stream, alert_id) not in self.ids and (ALERTS, alert_id) not in self.ids


class Restorer:
    """Reads what a start needs. Every method may raise that the lake, the vault or the broker is not there."""

    def __init__(self, settings: Settings, contracts: Contracts, vault: SqliteVault, analytics: Analytics) -> None:
        self._settings, self._contracts = settings, contracts
        self._token_key = vault.token_key()
        self._ledger = Ledger(vault, time.monotonic)
        self._analytics = analytics
        self._vectors: dict[str, Vectors] = {}
        self._tables: dict[str, FencedTable] = {}

    def starts(self, facts: dict[str, TopicFacts]) -> Starts:
        """Where to read from; a table that does not know a topic yet records its low watermarks."""
        lows: dict[str, dict[str, dict[int, int]]] = {}
        for fact in facts.values():
            for table in self._contracts.tables_of(fact.stream):
                first = {partition: low for partition, (low, _) in fact.ranges.items()}
                lows.setdefault(table.name, {})[fact.topic_id] = first
        seen = {name: self._vector_of(name, topics) for name, topics in lows.items()}
        return {stream: self._starts(fact, seen) for stream, fact in facts.items()}

    def _vector_of(self, name: str, topics: dict[str, dict[int, int]]) -> Vector:
        """A table's vector once it names these topics: all that it lacks are recorded in one commit."""
        vector = self._table(name).vector()
        if any(started(vector, topic_id, lows) is not None for topic_id, lows in topics.items()):
            return self._table(name).establish_all(topics)
        return vector

    def _starts(self, fact: TopicFacts, seen: dict[str, Vector]) -> dict[int, int]:
        names = [table.name for table in self._contracts.tables_of(fact.stream)]
        self._vectors[fact.stream] = {name: dict(seen[name].get(fact.topic_id, {})) for name in names}
        return least([seen[name] for name in names], fact.topic_id)

    def _table(self, name: str) -> FencedTable:
        if name not in self._tables:
            self._tables[name] = open_table(self._settings, name)
        return self._tables[name]

    def confirm(self, facts: dict[str, TopicFacts]) -> None:
        """Whether what was read belongs to the positions of `starts`: a table may have been rolled back in between,
        and its rows would be gone from under them. Raises `StoreUnavailableError`: begin again."""
        now: dict[str, Vector] = {}
        for stream, fact in facts.items():
            for name, before in self._vectors[stream].items():
                if name not in now:
                    now[name] = self._table(name).vector()
                here = now[name].get(fact.topic_id, {})
                if any(here.get(partition, 0) < offset for partition, offset in before.items()):
                    raise StoreUnavailableError(f"table {name} was rolled back while it was read; reading it again")

    def steps(self, fact: TopicFacts, starts: dict[int, int]) -> StreamSteps:
        """The stream's steps for the partitions of `starts`, with what the lake has below them remembered.

        `starts` come from `self.starts`. A process that reads some of the partitions needs that part of the memory.
        """
        contract = self._contracts.stream(fact.stream)
        first = remembered(self._analytics, contract, fact.topic_id, starts, len(fact.ranges), self._token_key)
        return self._bound(fact.stream, first, self._outcomes(fact, contract, starts), self._consents)

    @cached_property
    def _consents(self) -> Histories:
        """What patients have said, one memory for all streams of an opening; nothing is read where no stream asks."""
        streams = [topic.stream for topic in self._contracts.topics()]
        if not any(stream.consented for stream in self._contracts.values()):
            return Histories(streams)
        return read_histories(self._analytics, streams)

    def _outcomes(self, fact: TopicFacts, contract: StreamContract, starts: dict[int, int]) -> KnownOutcomes:
        """What the table of rows, the duplicates' log and what is withheld have of positions that are read again."""
        vectors, table = self._vectors[fact.stream], contract.tables[0].name
        rows_ends, log_ends = ({p: vectors[name][p] for p in starts} for name in (table, DUPLICATES))
        rows = rows_within(self._analytics, table, fact.topic_id, _stretch(starts, rows_ends))
        duplicates = duplicates_within(self._analytics, fact.topic_id, _stretch(starts, log_ends))
        if not contract.consented:
            return KnownOutcomes.of(rows_ends, log_ends, rows, duplicates)
        ends = {p: vectors[CONSENT_WITHHELD][p] for p in starts}
        withheld = rows_within(self._analytics, CONSENT_WITHHELD, fact.topic_id, _stretch(starts, ends))
        return KnownOutcomes.of(rows_ends, log_ends, rows, duplicates, ends, withheld)

    def _bound(
        self,
        stream: str,
        first: FirstPositions,
        known: KnownOutcomes = NOTHING_KNOWN,
        consents: Histories | None = None,
    ) -> StreamSteps:
        contract = self._contracts.stream(stream)
        assert contract.topic is not None, "only streams with a topic are read"
        tokenizer = Tokenizer(self._token_key, contract.topic.key_system, self._ledger)
        return StreamSteps(contract, tokenizer, first, known, consents)

    def monitor(
        self,
        facts: dict[str, TopicFacts],
        starts: Starts,
        at: Starts,
        stop: threading.Event,
        packs: PacksInForce,
        scores: SepsisMonitor | None = None,
    ) -> tuple[WardMonitor, KnownAlerts]:
        """The rules' state as of `at` (positions of the streams they look at), and the alerts decided beyond it; an
        empty `scores` becomes what it was then.

        The alerts' topics are read from `starts` on, every partition: they are keyed otherwise than the readings.
        """
        watched = {s: (facts[s].topic_id, at[s]) for s in sorted(WardMonitor.streams) if s in at}
        alerts, known = AlertsBefore(watched), KnownAlerts(set())
        for stream in (ALERTS, WITHHELD):
            alerts.take_table(self._analytics, stream, self._contracts.stream(stream).tables[0].name)
            for rows in self._tail(facts[stream], starts[stream], stop):
                alerts.take_topic(stream, rows)
        known.ids.update(alerts.beyond)
        monitor = rebuilt(lambda: WardMonitor(packs=packs), self._analytics, watched, alerts.past())
        if scores is not None:
            scored = {s: (facts[s].topic_id, at[s]) for s in SCORED_STREAMS if s in at}
            rebuild_scores(scores, self._analytics, scored, alerts.past())
        return monitor, known

    def admissions(self, fact: TopicFacts, starts: dict[int, int], stop: threading.Event) -> Iterator[StreamBatch]:
        """Admissions below `starts`, as far back as Kafka keeps them: they tell who patients are and where they lie,
        and the lake holds no identity to read that from."""
        lows = {p: min(fact.ranges[p][0], start) for p, start in starts.items()}
        return self._batches(fact, lows, starts, stop)

    def _tail(self, fact: TopicFacts, starts: dict[int, int], stop: threading.Event) -> Iterator[pa.Table]:
        """What stands on an alerts topic behind its table, decoded."""
        return self._read(fact, starts, {p: high for p, (_, high) in fact.ranges.items()}, stop)

    def _read(
        self, fact: TopicFacts, starts: dict[int, int], ends: dict[int, int], stop: threading.Event
    ) -> Iterator[pa.Table]:
        return (batch.rows for batch in self._batches(fact, starts, ends, stop) if batch.rows is not None)

    def _batches(
        self, fact: TopicFacts, starts: dict[int, int], ends: dict[int, int], stop: threading.Event
    ) -> Iterator[StreamBatch]:
        """What a topic holds from `starts` to `ends` at least (partition -> offset), decoded, repeats among it."""
        steps = self._bound(fact.stream, FirstPositions(1, 0, self._token_key))
        reader = PartitionReader(self._settings, {fact.stream: fact}, {(fact.stream, p): o for p, o in starts.items()})
        try:
            while any(reader.positions[fact.stream, p] < end for p, end in ends.items()) and not stop.is_set():
                yield from (steps.all(messages) for messages in reader.read(wait_s=0.5, linger_s=0.0))
        finally:
            reader.close()


def remembered(
    analytics: Analytics,
    contract: StreamContract,
    topic_id: str,
    starts: Mapping[int, int],
    partitions: int,
    token_key: bytes,
) -> FirstPositions:
    """The first positions that the stream's table has below `starts` (partition -> offset), as many as these of all
    `partitions` of the topic may hold; none where the contract takes nothing for a duplicate."""
    rule, table = contract.deduplication, contract.tables[0].name
    if rule is None:
        return FirstPositions(1, 0, token_key)
    most = max(1, rule.max_ids * len(starts) // max(1, partitions))
    known = history.identities_below(analytics, table, rule.column, topic_id, starts, most)
    first = FirstPositions(most, rule.horizon_seconds, token_key)
    first.restore(known["event_id"], known["kafka_partition"], known["kafka_offset"], known["kafka_time"])
    return first


def refuse_other_tokens(settings: Settings, vault: SqliteVault, contracts: Contracts) -> None:
    """With another key, or under another identifier system, every patient would get a second token, and nobody could
    bring the two together again.

    Raises `VaultError` for a vault that is not the one the tables were written with, and for a contract whose key has
    another identifier system than it had; `StoreUnavailableError`.
    """
    fingerprint = key_fingerprint(vault.token_key())
    systems = {
        f"{KEY_SYSTEM_PROPERTY}.{topic.stream}": topic.key_system for topic in contracts.topics() if topic.key_system
    }
    wanted = {TOKEN_KEY_PROPERTY: fingerprint, **systems}
    pinned = pinned_properties(open_catalog(settings), settings.namespace, wanted)
    if pinned[TOKEN_KEY_PROPERTY] != fingerprint:
        raise VaultError(
            f"the vault at {settings.vault_uri} is not the one that the tables of {settings.namespace} were written "
            "with; put that one back, or correct WARDSTREAM_VAULT_URI. Nothing was written"
        )
    for name, system in systems.items():
        if pinned[name] != system:
            raise VaultError(
                f"the contract of {name.removeprefix(KEY_SYSTEM_PROPERTY + '.')} names patients by {system}, and its "
                f"tables were written under {pinned[name]}; put that back, or give the stream another name. Nothing "
                "was written"
            )


def owned_part(starts: Starts, partitions: frozenset[int]) -> Starts:
    """The starts of these partitions alone."""
    return {s: {p: offset for p, offset in starts[s].items() if p in partitions} for s in starts}


def as_positions(starts: Starts) -> Positions:
    """The starts as a reader takes them."""
    return {(s, p): offset for s in starts for p, offset in starts[s].items()}


def _stretch(starts: dict[int, int], ends: dict[int, int]) -> dict[int, tuple[int, int]]:
    return {partition: (start, ends[partition]) for partition, start in starts.items()}


def open_table(settings: Settings, name: str) -> FencedTable:
    """A writer of its own: pyiceberg's tables belong to one thread."""
    writer = f"{socket.gethostname()}/{os.getpid()}"
    identifier = (settings.namespace, name)
    return FencedTable(open_catalog(settings), identifier, writer=writer, patience_seconds=PATIENCE_S)
