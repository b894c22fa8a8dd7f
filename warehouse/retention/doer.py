"""The doing of a retention plan: days move to the cold store and back, leave, and come back within their window.

Holds: the steps of each act, in an order that a kill between any two of them leaves nothing lost, doubled or untold.
Does not hold: what is due (plan.py), the records (undo.py), the deletion of objects (upkeep's sweep; purge.py for what
lies cold).

An act first writes down what is to leave (the record), then changes the table in one fenced commit, then tells it (the
receipt). The table says whether an act landed, so whoever comes after a kill tells it in its place (`settle`).
Positions are never touched: each commit carries the offset vector and the sources it finds.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table

from warehouse.commit import FencedTable
from warehouse.contract import Contracts, TableContract
from warehouse.retention.holds import LEAST_REASON, Hold, HoldRegister, holding
from warehouse.retention.observe import day_numbers, files_of, read_file
from warehouse.retention.plan import COOL, DESTROY_KEY, KINDS, REMOVE, WARM, Action, RetentionPlan
from warehouse.retention.receipts import (
    ABANDONED,
    COOLED,
    KEY_DESTROYED,
    REMOVED,
    RESTORED,
    WARMED,
    Receipt,
    ReceiptBook,
)
from warehouse.retention.undo import UndoRecord, moved, records_of, write_record
from warehouse.settings import Settings
from warehouse.snapshots import FilesChangedError, FilesGoneError, LiveFile, line_of
from warehouse.staging import SWEEP, StagedFiles, day_number, stage
from warehouse.table_session import store_of

RETENTION = "wardstream.retention"
"""Summary key of a snapshot that retention made: the receipt."""

IN_FLIGHT = timedelta(hours=1)
"""A change of a table follows its record within this time or not at all: what was given up can then be told from what
is under way."""

LOCK_POLL_SECONDS = 0.5
MOST_DAYS_AT_ONCE = 100
MOST_COPIES_AT_ONCE = 8
REJECTS = "rejects"
_ACT_OF = {COOL: COOLED, WARM: WARMED, REMOVE: REMOVED}
_POSITION = ("topic_id", "kafka_partition", "kafka_offset")


class UndoError(Exception):
    """An act cannot be taken back. The message says why, and what can be done instead."""


class BusyError(Exception):
    """Another process of this host is doing retention."""


class RejectKeyVault(Protocol):
    """The part of the vault that retention needs."""

    def reject_key_days(self) -> list[date]: ...

    def destroy_reject_key(self, day: date) -> None: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """An action of the plan that was not done, and why."""

    table: str
    day: date
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan: receipts, and actions that were not done. Neither is missing for any action."""

    receipts: tuple[Receipt, ...]
    refused: tuple[Refused, ...]


@contextmanager
def retention_lock(settings: Settings, wait_seconds: float = 0.0) -> Generator[None]:
    """One process of this host at a time. Raises `BusyError` after waiting so long."""
    path = settings.home / "locks" / "retention.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with path.open("a") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BusyError(f"another process is doing retention in {settings.home}; wait for it") from None
                time.sleep(LOCK_POLL_SECONDS)
        yield


class RetentionDoer:
    """Does what a plan says, and takes it back.

    Args:
        clock: the time, aware. new_id: a fresh name for each act. writer: who acts, for receipts and summaries.
        vault: where keys of rejects are; None: none is destroyed.
        progress: told each step as it begins (`recorded`, `copied`, those of `FencedTable`, `done`, `told`).
    """

    def __init__(
        self,
        settings: Settings,
        contracts: Contracts,
        catalog: Catalog,
        *,
        writer: str,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        vault: RejectKeyVault | None = None,
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._settings, self._contracts, self._catalog = settings, contracts, catalog
        self._writer, self._clock, self._new_id = writer, clock, new_id
        self._vault, self._progress = vault, progress
        self.holds = HoldRegister(catalog, settings.namespace, contracts.table("retention_holds"), writer)
        self.book = ReceiptBook(catalog, settings.namespace, contracts.table("retention_receipts"), writer)

    def apply(self, plan: RetentionPlan, kinds: Iterable[str] = KINDS) -> Outcome:
        """Do the plan's actions of these kinds, table by table. After a failure `settle`, and plan anew.

        Raises `StoreUnavailableError`, `TableChangedError`, `TableMismatchError` (contracts not applied) and what the
        vault raises; what was done until then is told at the next call.
        """
        kinds = frozenset(kinds)
        wanted = [action for action in plan.actions if action.kind in kinds]
        receipts: list[Receipt] = []
        refused: list[Refused] = []
        for batch in _batches(wanted):
            done, not_done = self._batch(batch)
            self._tell(done)
            receipts += done
            refused += not_done
        return Outcome(tuple(receipts), tuple(refused))

    def settle(self, tables: Iterable[str]) -> list[Receipt]:
        """Tell what earlier calls did to the tables and did not come to tell, and what they gave up."""
        told = {(each.table_name, each.receipt) for each in self.book.read()}
        receipts: list[Receipt] = []
        for name in sorted(tables):
            try:
                table = self._load(name)
            except NoSuchTableError:
                continue
            for record in records_of(table):
                if (name, record.receipt) in told:
                    continue
                if self._landed(table, name, record):
                    receipts += self._receipts(name, record, _ACT_OF[record.act], record.at)
                elif self._clock() - record.at > IN_FLIGHT:
                    receipts += self._receipts(name, record, ABANDONED, record.at)
        self._tell(receipts)
        return receipts

    def undo(self, receipt: str, who: str, why: str) -> list[Receipt]:
        """Take an act back, and hold its days so that it is not done again at once; the hold is lifted by a person.

        Raises `UndoError` where there is no such act, its window is over, it was never done, or its rows are in the
        table already, or the reason says too little.
        """
        name, table, record = self._find(receipt)
        now = self._clock()
        if len(why.strip()) < LEAST_REASON:
            raise UndoError(f"an undo needs a reason of {LEAST_REASON} letters or more; it names no patient")
        if now >= record.until:
            raise UndoError(
                f"the window of {receipt} ended at {record.until:%Y-%m-%d %H:%M} UTC; what left is being swept"
            )
        self.settle([name])
        acts = {each.act for each in self.book.read() if each.receipt == receipt}
        if not acts & set(_ACT_OF.values()):
            raise UndoError(f"{receipt} was begun and changed nothing: there is nothing to take back")
        days = sorted(each["day"] for each in record.told)
        self.holds.place(Hold(f"undo-{receipt}", name, days[0], days[-1], why, who, now))
        if RESTORED in acts:
            return []
        snapshot = self._taken_back(table, name, record)
        receipts = self._receipts(name, record, RESTORED, now, snapshot=snapshot, reason=why, by=who)
        self._tell(receipts)
        return receipts

    def _batch(self, actions: list[Action]) -> tuple[list[Receipt], list[Refused]]:
        """One act on some days of one table; each of them done or refused."""
        free, refused = self._not_held(actions)
        if not free:
            return [], refused
        try:
            if free[0].kind == DESTROY_KEY:
                return self._destroy_keys(free), refused
            return self._act(free), refused
        except FilesChangedError as error:
            why = f"{error}; it is planned anew at the next run"
            return [], [*refused, *(Refused(a.table, a.day, a.kind, why) for a in free)]

    def _act(self, actions: list[Action]) -> list[Receipt]:
        """Record, change, and look for a hold that came meanwhile."""
        kind, name = actions[0].kind, actions[0].table
        table = self._load(name)
        record, staged, removed = self._prepared(table, actions)
        write_record(table, record)
        self._progress("recorded")
        self._copy(table, record)
        fewer = record.rows if kind == REMOVE else 0
        said = {RETENTION: record.receipt}
        landed = self._fenced(name, record).replace_files(removed, staged, said, fewer_rows=fewer)
        self._progress("done")
        late = self._held_meanwhile(name, record)
        receipts = self._receipts(name, record, _ACT_OF[kind], self._clock(), snapshot=landed.snapshot_id)
        return receipts + self._give_back(name, record, late)

    def _prepared(self, table: Table, actions: list[Action]) -> tuple[UndoRecord, StagedFiles, list[LiveFile]]:
        """The record of an act, the files it puts in, and those it takes out."""
        kind, receipt = actions[0].kind, self._new_id()
        removed = list({live.file.file_path: live for action in actions for live in action.files}.values())
        added: tuple[Any, ...] = ()
        copies: dict[str, str] = {}
        leaving, replaced = removed, ()
        sweep = table.properties.get(SWEEP)
        if kind in (COOL, WARM):
            copies = {live.file.file_path: self._place(table, live, kind, receipt) for live in removed}
            added = tuple(moved(live.file, copies[live.file.file_path]) for live in removed)
        elif not table.spec().fields:
            removed, leaving, added = self._parted(table, actions, removed)
            replaced = tuple(live.file.file_path for live in removed)
        at = self._clock()
        record = UndoRecord(
            receipt=receipt,
            act=kind,
            table_uuid=str(table.metadata.table_uuid),
            at=at,
            until=at + timedelta(days=actions[0].undo_days),
            files=tuple(leaving),
            copies=copies,
            told=tuple(_told(action) for action in actions),
            acted_by=self._writer,
            replaced=replaced,
        )
        metadata = table.metadata
        return record, StagedFiles(added, metadata.current_schema_id, metadata.default_spec_id, sweep), removed

    def _parted(
        self, table: Table, actions: list[Action], files: list[LiveFile]
    ) -> tuple[list[LiveFile], list[LiveFile], tuple[Any, ...]]:
        """A table without days: files that hold a leaving row; the leaving rows, staged apart; the staying ones."""
        contract = self._contracts.table(actions[0].table)
        column = self._contracts.stream(contract.stream).time.column
        numbers = pa.array([day_number(action.day) for action in actions], pa.int64())
        touched, leaving, staying = [], [], []
        for live in files:
            rows = read_file(table, live)
            is_due = pc.fill_null(pc.is_in(day_numbers(rows[column]), value_set=numbers), False)
            if pc.any(is_due).as_py():
                touched.append(live)
                leaving.append(rows.filter(is_due))
                staying.append(rows.filter(pc.invert(is_due)))
        if not touched:
            raise FilesChangedError(f"table {contract.name} has none of these rows any more")
        sequence = max(live.sequence for live in touched)
        apart = stage(table, pa.concat_tables(leaving), store_of(table)).files
        for file in apart:
            file.spec_id = table.metadata.default_spec_id
        kept = stage(table, pa.concat_tables(staying), store_of(table)).files
        return touched, [LiveFile(file, sequence) for file in apart], kept

    def _place(self, table: Table, live: LiveFile, kind: str, receipt: str) -> str:
        """A name for a copy that was never used and never will be again."""
        day, file = live.file.file_path.rsplit("/", 2)[-2:]
        if kind == WARM:
            return table.location_provider().new_data_location(f"{day}/{receipt}-{file}")
        name = f"{self._settings.namespace}/{table.name()[-1]}-{table.metadata.table_uuid.hex[:8]}"
        return f"{self._settings.cold_warehouse}/{name}/{day}/{receipt}-{file}"

    def _copy(self, table: Table, record: UndoRecord) -> None:
        """Copy the files of a move, and look whether each copy is whole."""
        if not record.copies:
            return
        store, cold = store_of(table), record.act == COOL
        sizes = {live.file.file_path: live.file.file_size_in_bytes for live in record.files}

        def copy(source: str, target: str) -> None:
            store.copy(source, target, self._settings.cold_storage_class if cold else "")
            if len(store.new_input(target)) != sizes[source]:
                raise OSError(f"the copy {target} is not as long as its original; nothing refers to it")

        with ThreadPoolExecutor(MOST_COPIES_AT_ONCE) as copying:
            for _ in copying.map(lambda pair: copy(*pair), record.copies.items()):
                pass
        self._progress("copied")

    def _landed(self, table: Table, name: str, record: UndoRecord) -> bool:
        """Whether an act changed the table: by a snapshot that says so, else by where its files are."""
        if any(_said(snapshot) == record.receipt for snapshot in line_of(table.metadata)):
            return True
        there = {live.file.file_path for live in files_of(table)}
        if record.act != REMOVE:
            return bool(there & set(record.copies.values()))
        if there & ({live.file.file_path for live in record.files} | set(record.replaced)):
            return False
        # Neither: rewritten by somebody before we came, or taken out by us, and the snapshot that told is expired.
        try:
            return not self._has_rows_of(table, self._contracts.table(name), record)
        except FileNotFoundError:
            return True

    def _has_rows_of(self, table: Table, contract: TableContract, record: UndoRecord) -> bool:
        """Whether a row of the record is in the table, in whichever file: by position, else by primary key."""
        columns = list(_POSITION if contract.positioned else contract.primary_key)
        days = {live.day for live in record.files}
        there = [live for live in files_of(table) if live.day in days]
        if not there:
            return False
        left = pa.concat_tables([read_file(table, live, columns) for live in record.files])
        known = set(_keys(left, columns))
        return any(not known.isdisjoint(_keys(read_file(table, live, columns), columns)) for live in there)

    def _taken_back(self, table: Table, name: str, record: UndoRecord) -> int | None:
        """Change the table back; the snapshot that did. Raises `UndoError`."""
        said = {RETENTION: f"undo of {record.receipt}"}
        try:
            if record.act == REMOVE:
                there = {live.file.file_path for live in files_of(table)}
                known = all(live.file.file_path in there for live in record.files)
                if not known and self._has_rows_of(table, self._contracts.table(name), record):
                    raise UndoError(f"rows of {record.receipt} are in {name} already: its days were made anew")
                return self._fenced(name, None).restore_files(record.files, said).snapshot_id
            copies = set(record.copies.values())
            removed = [live for live in files_of(table) if live.file.file_path in copies]
            if len(removed) != len(copies):
                raise UndoError(
                    f"files of {record.receipt} were rewritten since; retention moves by class from here on"
                )
            metadata = table.metadata
            originals = tuple(live.file for live in record.files)
            sweep = table.properties.get(SWEEP)
            staged = StagedFiles(originals, metadata.current_schema_id, metadata.default_spec_id, sweep)
            if not all(store_of(table).new_input(file.file_path).exists() for file in originals):
                raise UndoError(f"originals of {record.receipt} are no longer in the store")
            return self._fenced(name, None).replace_files(removed, staged, said).snapshot_id
        except (FilesGoneError, FilesChangedError) as error:
            raise UndoError(f"{record.receipt} cannot be taken back: {error}") from None

    def _not_held(self, actions: list[Action]) -> tuple[list[Action], list[Refused]]:
        """Those that no hold covers now, and the others: a hold may be younger than the plan."""
        holds = self.holds.in_force()
        covering = [(action, holding(holds, action.table, action.day)) for action in actions]
        free = [action for action, hold in covering if hold is None]
        return free, [Refused(a.table, a.day, a.kind, f"held by {hold}") for a, hold in covering if hold]

    def _held_meanwhile(self, name: str, record: UndoRecord) -> set[date]:
        """Days of the act that a hold covers which was placed while it was under way."""
        holds = self.holds.in_force()
        return {each["day"] for each in record.told if holding(holds, name, each["day"])}

    def _give_back(self, name: str, record: UndoRecord, days: set[date]) -> list[Receipt]:
        """Put back what a hold of this very moment keeps: the whole act, as its files may hold several days."""
        if not days:
            return []
        snapshot = self._taken_back(self._load(name), name, record)
        why = "a hold was placed while it was under way"
        return self._receipts(name, record, RESTORED, self._clock(), snapshot=snapshot, reason=why)

    def _destroy_keys(self, actions: list[Action]) -> list[Receipt]:
        """Destroy the keys of days that the table of rejects has no row of any more."""
        if self._vault is None:
            return []
        left = {live.day for live in files_of(self._load(REJECTS))}
        done = []
        for action in actions:
            if day_number(action.day) in left:
                continue
            self._vault.destroy_reject_key(action.day)
            self._progress("destroyed")
            remains = "the vault's backups open until their outer key is destroyed"
            done.append(
                Receipt(
                    receipt=f"key-{action.day}",
                    act=KEY_DESTROYED,
                    table_name=action.table,
                    day=action.day,
                    rows=0,
                    bytes=0,
                    files=0,
                    retention_class=action.retention_class,
                    reason=action.reason,
                    remains=remains,
                    undo_until=None,
                    snapshot_id=None,
                    acted_by=self._writer,
                    acted_at=self._clock(),
                )
            )
        return done

    def _receipts(
        self,
        name: str,
        record: UndoRecord,
        act: str,
        at: datetime,
        snapshot: int | None = None,
        reason: str = "",
        by: str = "",
    ) -> list[Receipt]:
        window = record.until if act in _ACT_OF.values() and record.until > record.at else None
        return [
            Receipt(
                receipt=record.receipt,
                act=act,
                table_name=name,
                day=told["day"],
                rows=told["rows"],
                bytes=told["bytes"],
                files=told["files"],
                retention_class=told["retention_class"],
                reason=reason or told["reason"],
                remains=_remains(act, window),
                undo_until=window,
                snapshot_id=snapshot,
                acted_by=by or record.acted_by,
                acted_at=at,
            )
            for told in record.told
        ]

    def _tell(self, receipts: list[Receipt]) -> None:
        if receipts:
            self.book.write(receipts)
            self._progress("told")

    def _find(self, receipt: str) -> tuple[str, Table, UndoRecord]:
        for contract in self._contracts.tables():
            try:
                table = self._load(contract.name)
            except NoSuchTableError:
                continue
            for record in records_of(table):
                if record.receipt == receipt:
                    return contract.name, table, record
        raise UndoError(f"no record of {receipt}: `wardstream retention receipts` shows what can be undone until when")

    def _load(self, name: str) -> Table:
        return self._catalog.load_table((self._settings.namespace, name))

    def _fenced(self, name: str, record: UndoRecord | None) -> FencedTable:
        """A committer whose change follows the record in time or not at all."""

        def step(at: str) -> None:
            self._progress(at)
            if at == "swap" and record is not None and self._clock() - record.at > IN_FLIGHT:
                raise FilesChangedError(f"the act was recorded more than {IN_FLIGHT} ago and is given up")

        identifier = (self._settings.namespace, name)
        return FencedTable(self._catalog, identifier, writer=self._writer, clock=self._clock, progress=step)


def _batches(actions: Iterable[Action]) -> Iterator[list[Action]]:
    """Actions that are one act, as many days as one commit should take. Files that move together come to share a data
    sequence number, so only those move together that share one already: no row becomes news by it."""
    for _, group in groupby(actions, lambda action: (action.kind, action.table, _moved_with(action))):
        each = iter(group)
        while batch := list(islice(each, MOST_DAYS_AT_ONCE)):
            yield batch


def _moved_with(action: Action) -> object:
    sequences = {live.sequence for live in action.files}
    return None if action.kind not in (COOL, WARM) else sequences.pop() if len(sequences) == 1 else action.day


def _told(action: Action) -> dict[str, Any]:
    return {
        "day": action.day,
        "rows": action.rows,
        "bytes": action.bytes,
        "files": len(action.files),
        "retention_class": action.retention_class,
        "reason": action.reason,
    }


def _remains(act: str, window: datetime | None) -> str:
    """What is still there after an act, for the receipt."""
    if act == REMOVED:
        objects = f"until {window:%Y-%m-%d %H:%M} UTC, then until the sweep" if window else "until the sweep"
        return f"snapshots that upkeep has not expired name the files; the objects stay {objects}"
    if act == COOLED:
        return "the same files under other names in the cold store; warm originals stay as long as the undo window"
    return "nothing is changed" if act == ABANDONED else "the rows are in the table"


def _said(snapshot: Any) -> str | None:
    return snapshot.summary.additional_properties.get(RETENTION) if snapshot.summary is not None else None


def _keys(rows: pa.Table, columns: list[str]) -> Iterator[tuple[object, ...]]:
    return zip(*(rows[name].to_pylist() for name in columns), strict=True)
