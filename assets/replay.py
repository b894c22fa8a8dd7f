"""Replay as a test: days of a table made again by the graph's own steps, and held against the table.

Holds: which positions belong to a day, the reading of them, the two sides' comparison, and the swap on command. Plain
functions: what Dagster (`replay_check.py`) and the command line call.
Does not hold: the steps (`pipelines`), the comparing (`warehouse/comparison.py`), printing.

A stream's tables are made again together, since a position is in one of them: rows, rejects, duplicates. Only positions
below what all of them have come to are looked at; positions that neither Kafka nor the raw messages have are told, and
are no difference.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

import pipelines.lean_beam  # noqa: F401  (before anything of Beam)

# isort: split
from assets.derive import made_again
from pipelines.batch import ERASED, StreamBatch
from pipelines.lake_rows import duplicate_rows, raw_rows, reject_rows, table_rows
from pipelines.rebuild import RawReading, Rebuild, ReplayKeys, read_from_kafka
from pipelines.replay_plan import AUTO, Ranges, Stretch, below, stretches, widest
from pipelines.replay_plan import RAW as FROM_RAW
from pipelines.restore import CONSENT_WITHHELD, DUPLICATES, RAW, REJECTS, refuse_other_tokens, remembered
from pipelines.source import SourceError, TopicFacts, offsets_at, read_topic_facts
from pipelines.stream_steps import StreamSteps
from warehouse.analytics import Analytics
from warehouse.audit import FILE, record
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import FencedTable
from warehouse.comparison import (
    DOUBLED,
    EXTRA,
    MISSING,
    Comparison,
    TableComparison,
    compare_derived,
    no_positions,
)
from warehouse.contract import Contracts, StreamContract, TableContract
from warehouse.day_positions import offsets_within, poison_within, ranges_appended, ranges_of_days, rows_on_days
from warehouse.days import EmptyTableError, Head, day_bounds, head_of
from warehouse.erasure.ledger import Ledger
from warehouse.identity import Tokenizer
from warehouse.lake_session import open_session
from warehouse.offsets import Interval, Vector
from warehouse.raw_messages import KeptMessages
from warehouse.sealed_comparison import compare_sealed
from warehouse.settings import Settings
from warehouse.shadow import Shadow
from warehouse.snapshots import Head as Snapshot
from warehouse.snapshots import LiveFile, live_files, manifests_of, vector_of
from warehouse.vault import SqliteVault, open_vault

LATENESS_S = 3600.0
"""How long after a day its messages are looked for where the contract allows no lateness. Later ones are found by the
rows that the table has of them."""
REPLAYED = "wardstream.replayed"
"""Summary key of a swap: what took the place of what."""


class NotReplayableError(ValueError):
    """Nothing can make this table again, or not in this way. Says which tables can be, and what to do."""


@dataclass(frozen=True, slots=True)
class StreamReplay:
    """One stream's part of a replay.

    Attributes:
        messages: how many were worked. gone: positions that nobody has any more. closed: messages that are kept raw and
            that no key opens any more.
        tables: what came of the comparison, the table asked for first.
    """

    stream: str
    messages: int
    gone: tuple[Interval, ...]
    closed: int
    tables: tuple[TableComparison, ...]


@dataclass(frozen=True, slots=True)
class Swap:
    """What a swap changes or would change.

    Attributes:
        refusals: why it is not done; empty where it can be. snapshot_id: None until it was done.
    """

    files_before: int
    files_after: int
    rows_before: int
    rows_after: int
    refusals: tuple[str, ...]
    snapshot_id: int | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Days of a table, made again and compared.

    Attributes:
        streams: of a table that topics feed. derived: of one that is made of others, one comparison a day.
        refused: a sentence for each day or stream that could not be made again.
    """

    table: str
    days: tuple[date, ...]
    streams: tuple[StreamReplay, ...] = ()
    derived: tuple[TableComparison, ...] = ()
    refused: tuple[str, ...] = ()
    swap: Swap | None = None

    @property
    def tables(self) -> tuple[TableComparison, ...]:
        return (*(table for stream in self.streams for table in stream.tables), *self.derived)

    @property
    def equal(self) -> bool:
        """Whether all that could be made again is as it is kept."""
        return all(table.equal for table in self.tables)

    @property
    def complete(self) -> bool:
        """Whether all of it could be made again."""
        return not self.refused and not any(stream.gone or stream.closed for stream in self.streams)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a replay.

    Attributes:
        days: UTC, one after another. source: `auto`, `kafka` or `raw`. swap: put the days made again in the place of
            those kept, where they differ; with `dry_run` only say what that would change.
        who, why: go on record before anything sealed is opened.
    """

    table: str
    days: tuple[date, ...]
    who: str
    why: str
    source: str = AUTO
    swap: bool = False
    dry_run: bool = False


def replay(settings: Settings, contracts: Contracts, request: Request) -> Replay:
    """Make days of a table again and compare them; nothing of the lake is changed unless a swap is asked for.

    Raises `NotReplayableError`, and what the lake, the vault and the broker raise when they are away.
    """
    table = contracts.table(request.table)
    if table.derived_from and not table.positioned:
        return _derived(settings, contracts, table, request)
    if not table.positioned or table.partitioning is None:
        raise NotReplayableError(f"{table.name} is neither fed by topics nor made of other tables by day")
    if request.swap and table.name in (REJECTS, DUPLICATES, RAW):
        raise NotReplayableError(f"{table.name} is swapped for no replay: it belongs to several streams")
    with ExitStack() as stack:
        lake = _Lake(settings, contracts, stack)
        done: list[StreamReplay] = []
        refused: list[str] = []
        swap = None
        for stream in table.fed_by:
            try:
                part, swap = _StreamWork(lake, contracts.stream(stream), table, request, stack).done()
                done.append(part)
            except SourceError as error:
                refused.append(f"{stream}: {error}")
    return Replay(table.name, request.days, tuple(done), refused=tuple(refused), swap=swap)


def _derived(settings: Settings, contracts: Contracts, table: TableContract, request: Request) -> Replay:
    from assets.derive import derivable

    if not derivable(table):
        raise NotReplayableError(
            f"{table.name} is written by judgement, not made of its sources; nothing makes it again"
        )
    if request.swap:
        raise NotReplayableError(f"{table.name} is derived: materialise lake/{table.name} for those days instead")
    session = open_session(settings)
    compared: list[TableComparison] = []
    refused: list[str] = []
    for made in made_again(settings, contracts, table.name, request.days):
        if isinstance(made, str):
            refused.append(made)
        else:
            day, kept, rebuilt = made
            compared.append(compare_derived(session, table, day, kept, rebuilt))
    session.close()
    return Replay(table.name, request.days, derived=tuple(compared), refused=tuple(refused))


class _Lake:
    """Catalog, session, vault and analytics of one replay."""

    def __init__(self, settings: Settings, contracts: Contracts, stack: ExitStack) -> None:
        self.settings, self.contracts = settings, contracts
        self.catalog = open_catalog(settings)
        self.session = open_session(settings)
        stack.callback(self.session.close)
        self.analytics = stack.enter_context(Analytics(settings))
        self.vault: SqliteVault = open_vault(settings.vault_uri, time.monotonic)
        stack.callback(self.vault.close)
        refuse_other_tokens(settings, self.vault, contracts)
        self._erased_changes = self.vault.erased_changes()

    def require_nobody_erased(self) -> None:
        """Raises `NotReplayableError` where the list of the erased changed since this replay began: rows that it made
        before may be theirs."""
        if self.vault.erased_changes() != self._erased_changes:
            raise NotReplayableError("somebody was erased or returned while the days were worked again; start it anew")

    def table(self, name: str) -> _TableAtHead:
        """A table as it is now: all that is asked of it here is of that moment."""
        loaded = load_table(self.catalog, self.settings.namespace, name)
        try:
            head = head_of(loaded)
        except EmptyTableError:
            return _TableAtHead(self.contracts.table(name), Snapshot(loaded, ()), None, {})
        return _TableAtHead(
            self.contracts.table(name), Snapshot(loaded, manifests_of(loaded)), head, vector_of(loaded.metadata)
        )


@dataclass(frozen=True, slots=True)
class _TableAtHead:
    """A table's contract, its snapshot with manifests, the same for DuckDB (None: no snapshot yet), its vector."""

    contract: TableContract
    snapshot: Snapshot
    head: Head | None
    vector: Vector

    @property
    def column(self) -> str:
        assert self.contract.partitioning is not None, "a table that topics feed has days"
        return self.contract.partitioning.column

    def files_of(self, days: Sequence[date]) -> list[LiveFile]:
        """The data files of these partition days."""
        numbers = {(day - date(1970, 1, 1)).days for day in days}
        return [live for live in live_files(self.snapshot, self.snapshot.table.io) if live.day in numbers]  # ty: ignore


@dataclass
class _Read:
    """What was read of a stream's topics."""

    spans: list[Interval] = field(default_factory=list)
    gone: list[Interval] = field(default_factory=list)
    closed: list[tuple[str, int, int]] = field(default_factory=list)
    refused: list[tuple[str, int, int]] = field(default_factory=list)
    messages: int = 0


class _StreamWork:
    """One stream of one replay."""

    def __init__(
        self, lake: _Lake, stream: StreamContract, asked: TableContract, request: Request, stack: ExitStack
    ) -> None:
        self._lake, self._stream, self._asked, self._request, self._stack = lake, stream, asked, request, stack
        names = [stream.tables[0].name, REJECTS, DUPLICATES, *([RAW] if asked.name == RAW else [])]
        self._tables = {name: lake.table(name) for name in names}
        self._own = self._tables[stream.tables[0].name]
        self._shadows = {
            name: stack.enter_context(Shadow(table.snapshot.table)) for name, table in self._tables.items()
        }
        self._withheld = lake.table(CONSENT_WITHHELD) if stream.consented else None
        self._withheld_at: dict[str, dict[int, frozenset[int]]] = {}
        self._keys = ReplayKeys(lake.vault)
        self._read = _Read()
        self._excused = 0

    def done(self) -> tuple[StreamReplay, Swap | None]:
        """Read, compare, and swap where that was asked for."""
        self._record()
        fact = self._fact()
        for topic_id in self._own.vector:
            self._read_topic(topic_id, fact if fact and topic_id == fact.topic_id else None)
        for shadow in self._shadows.values():
            shadow.flush()
        comparison = self._comparison()
        compared = self._compared(comparison)
        read = self._read
        part = StreamReplay(self._stream.name, read.messages, tuple(read.gone), len(read.closed), compared)
        return part, self._swap(comparison, part) if self._request.swap else None

    def _fact(self) -> TopicFacts | None:
        """What the broker says of the topic; nobody asks it where only raw messages are to be read."""
        if self._request.source == FROM_RAW:
            return None
        return read_topic_facts(self._lake.settings, (self._stream.name,))[self._stream.name]

    def _record(self) -> None:
        """Sealed values are opened to be compared: say so before."""
        days = self._request.days
        entry: dict[str, str | int | None] = {
            "who": self._request.who, "what": "replay.check", "table": self._asked.name, "stream": self._stream.name,
            "days": f"{days[0]}..{days[-1]}", "why": self._request.why,
        }  # fmt: skip
        record(self._lake.settings.home / FILE, datetime.now(UTC), entry)

    # --- which positions, and from where

    def _read_topic(self, topic_id: str, fact: TopicFacts | None) -> None:
        """One life of the topic; `fact` is None for one that was deleted since."""
        raw = self._raw(topic_id)
        kept_raw = raw.ranges() if raw else {}
        wanted = below(self._wanted(topic_id, fact, raw), self._settled(topic_id))
        kafka = dict(fact.ranges) if fact else {}
        parts = stretches(topic_id, wanted, kafka, kept_raw, self._request.source)
        self._read.spans += [covered for part in parts if (covered := part.covered)]
        self._read.gone += [gone for part in parts for gone in part.gone]
        if any(part.covered for part in parts):
            self._work(topic_id, parts, fact, raw)

    def _raw(self, topic_id: str) -> KeptMessages | None:
        """What is kept of the topic's messages; None where nothing is, and where that itself is in question."""
        feeds_raw = RAW in {table.name for table in self._lake.contracts.tables_of(self._stream.name)}
        if not feeds_raw or self._asked.name == RAW:
            return None
        table = self._lake.table(RAW)
        return KeptMessages(self._lake.session, table.head, table.vector, topic_id) if table.head else None

    def _settled(self, topic_id: str) -> dict[int, int]:
        """Partition -> the position below which each of the stream's tables has what it gets."""
        tables = [*self._tables.values(), *([self._withheld] if self._withheld else [])]
        ends = [table.vector.get(topic_id, {}) for table in tables]
        return {p: min(end.get(p, 0) for end in ends) for p in ends[0]}

    def _wanted(self, topic_id: str, fact: TopicFacts | None, raw: KeptMessages | None) -> dict[int, tuple[int, int]]:
        """The positions of the days' rows, and of what was appended while such rows may come."""
        since, until = self._appended()
        session, days = self._lake.session, self._request.days
        heads = [*(table.head for table in self._tables.values()), raw.head if raw else None]
        found: list[Ranges] = [ranges_appended(session, head, topic_id, since, until) for head in heads if head]
        asked = self._tables[self._asked.name]
        if asked.head:
            found.append(ranges_of_days(session, asked.head, topic_id, asked.column, days))
        if fact:
            first, past = (offsets_at(self._lake.settings, fact, _milliseconds(at)) for at in (since, until))
            found.append({p: (first[p], past[p]) for p in fact.ranges})
        return widest(found)

    def _appended(self) -> tuple[datetime, datetime]:
        """When the messages of the days' rows were appended, but for those that were later still."""
        since, until = day_bounds(self._request.days[0])[0], day_bounds(self._request.days[-1])[1]
        if self._tables[self._asked.name].column == "kafka_time":
            return since, until
        ahead, late = self._stream.time.allowed_ahead_seconds, self._stream.time.allowed_lateness_seconds
        return since - timedelta(seconds=ahead or 0), until + timedelta(seconds=late or LATENESS_S)

    # --- making them again

    def _work(self, topic_id: str, parts: list[Stretch], fact: TopicFacts | None, raw: KeptMessages | None) -> None:
        starts = {c.partition: c.start for part in parts if (c := part.covered)}
        topic, token_key = self._stream.topic, self._lake.vault.token_key()
        assert topic is not None, "only streams with a topic are replayed"
        first = remembered(self._lake.analytics, self._stream, topic_id, starts, topic.partitions, token_key)
        rejects = self._tables[REJECTS].head
        poison = poison_within(self._lake.session, rejects, topic_id) if rejects else {}
        tokenizer = Tokenizer(token_key, topic.key_system, Ledger(self._lake.vault, time.monotonic))
        work = Rebuild(StreamSteps(self._stream, tokenizer, first), poison)
        if raw:
            reading = RawReading(raw, self._stream.name, self._lake.vault)
            self._keep(topic_id, work.batches(reading.read({part.wanted.partition: part.raw for part in parts})))
            self._read.closed += [(topic_id, p, offset) for p, all_ in reading.closed.items() for offset in all_]
        if fact:
            ranges = {part.wanted.partition: part.kafka for part in parts}
            self._keep(topic_id, work.batches(read_from_kafka(self._lake.settings, fact, ranges)))
        self._read.messages += work.messages

    def _keep(self, topic_id: str, batches: Iterator[StreamBatch]) -> None:
        """Put what became of each message into the shadows of the tables it goes to. Those of people who were erased
        since are made again by nobody and are compared with nothing; nor are those that consent kept out when they were
        read: that was decided then."""
        now_us = time.time_ns() // 1000
        for batch in batches:
            refused = [reject.index for reject in batch.rejects if reject.reason == ERASED]
            refused += self._withheld_of(topic_id, batch)
            if refused:
                at = zip(batch.messages.partitions[refused], batch.messages.offsets[refused], strict=True)
                self._read.refused += [(topic_id, int(p), int(offset)) for p, offset in at]
                batch = batch.without(refused)
            for name, shadow in self._shadows.items():
                shadow.add(self._rows(name, batch, now_us))

    def _withheld_of(self, topic_id: str, batch: StreamBatch) -> list[int]:
        """The messages of a batch that the table of what is withheld has."""
        if self._withheld is None or self._withheld.head is None:
            return []
        if topic_id not in self._withheld_at:
            self._withheld_at[topic_id] = offsets_within(self._lake.session, self._withheld.head, topic_id)
        places = zip(batch.messages.partitions.tolist(), batch.messages.offsets.tolist(), strict=True)
        known = self._withheld_at[topic_id]
        return [index for index, (p, offset) in enumerate(places) if offset in known.get(p, ())]

    def _rows(self, name: str, batch: StreamBatch, now_us: int) -> pa.Table:
        table = self._tables[name].contract
        if name == REJECTS:
            return reject_rows(batch, self._keys, table, now_us)
        if name == DUPLICATES:
            return duplicate_rows(batch, table, now_us)
        if name == RAW:
            return raw_rows(batch, self._keys, table, now_us)
        return table_rows(batch, self._keys, table, now_us)

    # --- comparing them

    def _comparison(self) -> Comparison:
        aside = _positions([*self._read.closed, *self._read.refused])
        comparison = Comparison(self._lake.session, self._read.spans, aside)
        for name, table in self._tables.items():
            comparison.add(table.contract, table.head, self._shadows[name].locations)
        return comparison

    def _compared(self, comparison: Comparison) -> tuple[TableComparison, ...]:
        """The table asked for, and where that is the stream's own, what shares its account of positions."""
        asked, own = self._asked.name, self._own.contract.name
        self._excused = comparison.excuse(own, self._event) if self._event else 0
        names = [own, REJECTS, DUPLICATES] if asked == own else [asked]
        return tuple(self._one_compared(comparison, name) for name in names)

    def _one_compared(self, comparison: Comparison, name: str) -> TableComparison:
        days, own = self._request.days if name == self._asked.name else None, name == self._own.contract.name
        compared = comparison.compare(name, days, self._event if own else None)
        sealed = compare_sealed(comparison, name, self._stream.name, self._lake.vault, days)
        return compared.also(sealed.differences, sealed.unopened, self._excused if own else 0)

    @property
    def _event(self) -> str | None:
        """The column by which events are known; None where the contract takes nothing for a duplicate."""
        return self._stream.deduplication.column if self._stream.deduplication else None

    # --- swapping them in

    def _swap(self, comparison: Comparison, part: StreamReplay) -> Swap:
        days, own = self._request.days, self._own
        leaving = own.files_of(days)
        shadow = self._without_excused(comparison) if self._excused else self._shadows[own.contract.name]
        coming = shadow.of_days(days)
        rows = sum(live.file.record_count for live in leaving)
        plan = Swap(len(leaving), len(coming.files), rows, coming.rows, tuple(self._refusals(comparison, part)))
        if plan.refusals or self._request.dry_run or part.tables[0].equal:
            return plan
        shadow.let_go(coming)
        return _swapped(self._lake, own, leaving, coming, days, plan)

    def _without_excused(self, comparison: Comparison) -> Shadow:
        """A shadow of the days without what the table rightly has as duplicates."""
        shadow = self._stack.enter_context(Shadow(self._own.snapshot.table))
        for rows in comparison.rows_to_swap(self._own.contract.name, self._request.days):
            shadow.add(rows)
        shadow.flush()
        return shadow

    def _refusals(self, comparison: Comparison, part: StreamReplay) -> Iterator[str]:
        """Why the shadow may not take the table's place: it must have all that the table has a right to."""
        days, own = self._request.days, self._own
        if part.gone or part.closed:
            yield "not all positions of these days can be made again"
        if own.head and rows_on_days(self._lake.session, own.head, own.column, days) != sum(
            part.tables[0].kept.values()
        ):
            yield "the table has rows of these days at positions that were not made again; try again in a minute"
        if astray := comparison.astray(own.contract.name, days):
            yield f"{astray} positions lie on another day on one side; name all the days"
        if self._keys.replaced:
            yield "keys of rejects of these days were destroyed; what is sealed now would open nowhere"
        for beside in part.tables[1:]:
            if any(each.kind in (MISSING, EXTRA, DOUBLED) for each in beside.differences):
                yield (
                    f"{beside.table} differ as well, so positions would be in two tables or in none; what was refused "
                    "and is right by now comes in by `wardstream rejects replay`"
                )


def _swapped(
    lake: _Lake, own: _TableAtHead, leaving: list[LiveFile], coming: Any, days: Sequence[date], plan: Swap
) -> Swap:
    """Put the files in the place of the others, in one commit."""
    fenced = FencedTable(lake.catalog, (lake.settings.namespace, own.contract.name), writer="replay")
    said = {REPLAYED: json.dumps([day.isoformat() for day in days])}
    lake.require_nobody_erased()
    if leaving:
        fewer = plan.rows_before - plan.rows_after
        receipt = fenced.replace_files(leaving, coming, said, fewer_rows=fewer, news=True)
    else:
        sequence = 1 + max((s.sequence_number or 0 for s in own.snapshot.metadata.snapshots), default=0)
        receipt = fenced.restore_files([LiveFile(file, sequence) for file in coming.files], said)
    return Swap(
        plan.files_before, plan.files_after, plan.rows_before, plan.rows_after, (), snapshot_id=receipt.snapshot_id
    )


def _positions(places: list[tuple[str, int, int]]) -> pa.Table:
    if not places:
        return no_positions()
    topics, partitions, offsets = zip(*places, strict=True)
    columns = [pa.array(topics), pa.array(np.array(partitions, np.int32)), pa.array(np.array(offsets, np.int64))]
    return pa.table(columns, schema=no_positions().schema)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
