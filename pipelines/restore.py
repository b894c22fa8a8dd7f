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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.alerts.bedside import Bedsides
from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.signals import INDEX as SCORED_CODES
from pipelines.deduplicate import NOTHING_KNOWN, FirstPositions
from pipelines.known_outcomes import KnownOutcomes
from pipelines.source import PartitionReader, Positions, TopicFacts
from pipelines.stream_steps import StreamSteps
from warehouse import history
from warehouse.analytics import Analytics
from warehouse.catalog import KEY_SYSTEM_PROPERTY, open_catalog, pinned_properties
from warehouse.commit import FencedTable, StoreUnavailableError
from warehouse.contract import Contracts, StreamContract
from warehouse.identity import Tokenizer, key_fingerprint
from warehouse.offsets import least
from warehouse.outcomes import duplicates_within, rows_within
from warehouse.settings import Settings
from warehouse.vault import SqliteVault, VaultError

SCORED_STREAM = "device.vitals"
REJECTS, DUPLICATES, RAW = "rejects", "duplicates", "raw_messages"
ALERTS, WITHHELD = "clinical.alerts", "clinical.alerts.withheld"
TOKEN_KEY_PROPERTY = "wardstream.token-key"
"""Of the namespace: the fingerprint of the key with which its tables' tokens are made."""
PATIENCE_S = 3.0
"""How long one call to the lake tries by itself before it says that it waits."""
_FORGET_AFTER = timedelta(days=7)

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
        self._analytics = analytics
        self._vectors: dict[str, Vectors] = {}

    def starts(self, facts: dict[str, TopicFacts]) -> Starts:
        """Where to read from; a table that does not know a topic yet records its low watermarks."""
        return {stream: self._starts(fact) for stream, fact in facts.items()}

    def _starts(self, fact: TopicFacts) -> dict[int, int]:
        lows = {partition: low for partition, (low, _) in fact.ranges.items()}
        names = [table.name for table in self._contracts.tables_of(fact.stream)]
        vectors = {name: open_table(self._settings, name).establish(fact.topic_id, lows) for name in names}
        self._vectors[fact.stream] = {name: dict(vector.get(fact.topic_id, {})) for name, vector in vectors.items()}
        return least(list(vectors.values()), fact.topic_id)

    def confirm(self, facts: dict[str, TopicFacts]) -> None:
        """Whether what was read belongs to the positions of `starts`: a table may have been rolled back in between,
        and its rows would be gone from under them. Raises `StoreUnavailableError`: begin again."""
        for stream, fact in facts.items():
            for name, before in self._vectors[stream].items():
                now = open_table(self._settings, name).vector().get(fact.topic_id, {})
                if any(now.get(partition, 0) < offset for partition, offset in before.items()):
                    raise StoreUnavailableError(f"table {name} was rolled back while it was read; reading it again")

    def steps(self, fact: TopicFacts, starts: dict[int, int]) -> StreamSteps:
        """The stream's steps for the partitions of `starts`, with what the lake has below them remembered.

        `starts` come from `self.starts`. A process that reads some of the partitions needs that part of the memory.
        """
        contract = self._contracts.stream(fact.stream)
        first = remembered(self._analytics, contract, fact.topic_id, starts, len(fact.ranges), self._token_key)
        return self._bound(fact.stream, first, self._outcomes(fact, contract.tables[0].name, starts))

    def _outcomes(self, fact: TopicFacts, table: str, starts: dict[int, int]) -> KnownOutcomes:
        """What the table of rows and the duplicates' log have of positions that are read again."""
        vectors = self._vectors[fact.stream]
        rows_ends, log_ends = ({p: vectors[name][p] for p in starts} for name in (table, DUPLICATES))
        rows = rows_within(self._analytics, table, fact.topic_id, _stretch(starts, rows_ends))
        duplicates = duplicates_within(self._analytics, fact.topic_id, _stretch(starts, log_ends))
        return KnownOutcomes.of(rows_ends, log_ends, rows, duplicates)

    def _bound(self, stream: str, first: FirstPositions, known: KnownOutcomes = NOTHING_KNOWN) -> StreamSteps:
        contract = self._contracts.stream(stream)
        assert contract.topic is not None, "only streams with a topic are read"
        return StreamSteps(contract, Tokenizer(self._token_key, contract.topic.key_system), first, known)

    def monitor(
        self, facts: dict[str, TopicFacts], starts: Starts, at: dict[int, int], stop: threading.Event
    ) -> tuple[WardMonitor, KnownAlerts]:
        """The rules' state as of `at` (partition -> offset, of the scored stream), and the alerts decided beyond it.

        The alerts' topics are read from `starts` on, every partition: they are keyed otherwise than the readings.
        """
        topic_id = facts[SCORED_STREAM].topic_id
        past, known = [], KnownAlerts(set())
        for stream in (ALERTS, WITHHELD):
            table = self._contracts.stream(stream).tables[0].name
            past.append(history.last_alerts_below(self._analytics, table, topic_id, at))
            known.ids.update((stream, i) for i in history.alert_ids_from(self._analytics, table, topic_id, at))
            for rows in self._tail(facts[stream], starts[stream], stop):
                below, beyond = _parted(_of(rows, topic_id, at), at)
                past.append(below)
                known.ids.update((stream, i) for i in beyond["alert_id"].to_pylist())
        monitor = WardMonitor()
        merged = pa.concat_tables([_past_columns(rows) for rows in past])
        alerted = pc.unique(merged["subject_token"]).to_pylist()
        readings = history.readings_below(
            self._analytics, topic_id, at, list(SCORED_CODES), alerted, monitor.lookback, _FORGET_AFTER
        )
        monitor.restore(readings, merged)
        return monitor, known

    def bedsides(self, fact: TopicFacts, starts: dict[int, int], stop: threading.Event) -> Bedsides:
        """Patients and beds as admissions below `starts` told them, as far back as Kafka keeps them: the lake holds no
        identity to read them from."""
        lows = {p: min(fact.ranges[p][0], start) for p, start in starts.items()}
        known = Bedsides()
        for rows in self._read(fact, lows, starts, stop):
            known.take(rows)
        return known

    def _tail(self, fact: TopicFacts, starts: dict[int, int], stop: threading.Event) -> Iterator[pa.Table]:
        """What stands on an alerts topic behind its table, decoded."""
        return self._read(fact, starts, {p: high for p, (_, high) in fact.ranges.items()}, stop)

    def _read(
        self, fact: TopicFacts, starts: dict[int, int], ends: dict[int, int], stop: threading.Event
    ) -> Iterator[pa.Table]:
        """The rows of a topic from `starts` to `ends` at least (partition -> offset), repeats among them."""
        steps = self._bound(fact.stream, FirstPositions(1, 0, self._token_key))
        reader = PartitionReader(self._settings, {fact.stream: fact}, {(fact.stream, p): o for p, o in starts.items()})
        try:
            while any(reader.positions[fact.stream, p] < end for p, end in ends.items()) and not stop.is_set():
                yield from (steps.all(messages).rows for messages in reader.read(wait_s=0.5, linger_s=0.0))
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
    `partitions` of the topic may hold."""
    rule, table = contract.deduplication, contract.tables[0].name
    assert rule is not None, "a stream with a topic has a deduplication rule"
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


_PAST = (
    "rule",
    "rule_version",
    "subject_token",
    "level",
    "episode_start",
    "effective_at",
    "source_partition",
    "source_offset",
    "withheld_because",
)


def _past_columns(rows: pa.Table) -> pa.Table:
    """What the monitor asks of a past alert, in one form: tables know no reason for sending, only for withholding."""
    if "withheld_because" not in rows.column_names:
        rows = rows.append_column("withheld_because", pa.nulls(len(rows), pa.string()))
    types = {"level": pa.int64(), "source_partition": pa.int64(), "source_offset": pa.int64()}
    moments = dict.fromkeys(("episode_start", "effective_at"), pa.timestamp("us", "UTC"))
    schema = pa.schema([(name, {**types, **moments}.get(name, pa.string())) for name in _PAST])
    return pa.table([rows[name].cast(schema.field(name).type) for name in _PAST], schema=schema)


def _of(rows: pa.Table, topic_id: str, at: dict[int, int]) -> pa.Table:
    """The alerts that readings of this topic and these partitions gave rise to."""
    ours = pc.is_in(rows["source_partition"], pa.array(sorted(at), rows["source_partition"].type))
    return rows.filter(pc.and_(pc.equal(rows["source_topic_id"], topic_id), ours))


def _parted(rows: pa.Table, at: dict[int, int]) -> tuple[pa.Table, pa.Table]:
    """The rows whose triggering reading lies below `at`, and the others."""
    partitions = rows["source_partition"].to_numpy().astype(np.int64)
    floors = np.zeros(max([*at, 0, *partitions.tolist()]) + 1, np.int64)
    floors[list(at)] = list(at.values())
    below = rows["source_offset"].to_numpy() < floors[partitions]
    return rows.filter(pa.array(below)), rows.filter(pa.array(~below))
