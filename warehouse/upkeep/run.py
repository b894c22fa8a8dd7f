"""Upkeep of one table from beginning to end: observe, plan, do, observe again.

Holds: the order of the doers and the receipt.
Does not hold: what each does, nor when a table's turn comes.

Every step may be repeated; a run that was killed is put right by the next one, wherever it was.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.table import Table

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import Contracts, TableContract
from warehouse.settings import Settings
from warehouse.snapshots import UPKEEP, FilesChangedError, LiveFile, SweepOvertakenError, superseded
from warehouse.sweep_objects import Unreferenced
from warehouse.upkeep import duplicates
from warehouse.upkeep.compact import Compacted, compact
from warehouse.upkeep.duplicates import Duplicates
from warehouse.upkeep.health import Health, health_of
from warehouse.upkeep.observed import interrupted_sweep, last_mark, observe
from warehouse.upkeep.plan import CompactionGroup, FileState, TableState, UpkeepPlan, UpkeepPolicy, plan_upkeep
from warehouse.upkeep.sweep import SweepReceipt, look, mark, require_own_location, resume, store_time, sweep

Progress = Callable[[str], None]
Held = Callable[[Table, datetime], Iterable[str]]
"""Which objects of a table other rooms hold back at a time."""


@dataclass(frozen=True, slots=True)
class TableUpkeep:
    """What one run did to one table.

    Attributes:
        before, after: the table's state. health: before.
        compacted: one a group. changed_under: groups that somebody else changed first; the next run plans them anew.
        recorded: duplicates put on record. expired: snapshots that are gone. swept: what was deleted, None for nothing.
        marked: objects that no snapshot names, found by this run; None where it did not look.
    """

    plan: UpkeepPlan
    health: Health
    before: TableState
    after: TableState
    compacted: tuple[Compacted, ...] = ()
    changed_under: int = 0
    recorded: int = 0
    expired: tuple[int, ...] = ()
    clustered: bool = False
    swept: SweepReceipt | None = None
    marked: int | None = None


@dataclass(slots=True)
class Upkeep:
    """Upkeep of the tables of one lake.

    Attributes:
        held: what other rooms hold back from a sweep.
        now: the time, aware: the store's own, for objects are marked by it.
        progress: told each step as it begins, for pages and for crash tests.
    """

    settings: Settings
    catalog: Catalog
    contracts: Contracts
    held: Held
    policy: UpkeepPolicy
    now: Callable[[Table], datetime] = store_time
    progress: Progress = lambda step: None
    writer: str = field(default_factory=lambda: f"upkeep-{socket.gethostname()}-{os.getpid()}")

    def observe(self, name: str) -> TableState:
        """A table's state. Raises `TableMismatchError` where there is no such table yet, `StoreUnavailableError`."""
        return observe(self._load(name), self.contracts.table(name), self.policy)[0]

    def health(self, name: str) -> Health:
        """A table's health. Raises as `observe`."""
        return self.health_at_head(name)[0]

    def health_at_head(self, name: str) -> tuple[Health, int]:
        """A table's health, and the sequence number of the head it is of. Raises as `observe`."""
        table = self._load(name)
        state, _ = observe(table, self.contracts.table(name), self.policy)
        return health_of(state, self.policy, self.now(table)), state.sequence

    def plan(self, name: str) -> UpkeepPlan:
        """What `run` would do to a table now. Raises as `observe`."""
        return plan_upkeep(self.observe(name), self.policy, self.now(self._load(name)))

    def look(self, name: str) -> tuple[Unreferenced, ...]:
        """What no snapshot of a table names now and no other room holds. Raises as `observe`."""
        table = self._load(name)
        return look(table, self.held(table, self.now(table))).objects

    def run(self, name: str) -> TableUpkeep:
        """Do what there is to do. Raises as `observe`, and whatever a doer raises: then the rest waits for the next
        run, which takes up what was left."""
        table, contract = self._load(name), self.contracts.table(name)
        before, files = observe(table, contract, self.policy)
        now = self.now(table)
        plan = plan_upkeep(before, self.policy, now)
        done = TableUpkeep(plan, health_of(before, self.policy, now), before, before)
        if plan.empty:
            return done
        done = self._compact(done, table, contract, files)
        done = self._let_go(done, name)
        done = self._sweep(done, name)
        return replace(done, after=self.observe(name))

    def _compact(self, done: TableUpkeep, table: Table, contract: TableContract, files: list[LiveFile]) -> TableUpkeep:
        fenced, by_path = self._fenced(contract.name), {live.file.file_path: live for live in files}
        compacted, under, recorded = [], 0, 0
        for groups, repeated in self._days(done.plan.groups, table, contract, files):
            if repeated is not None:
                recorded += self._record(contract, repeated, self.now(table))
            for group in groups:
                chosen = [by_path[file.location] for file in group.files]
                leaving = (
                    repeated.positions(by_path[f.location].file.file_path for f in group.files) if repeated else ()
                )
                try:
                    compacted.append(compact(fenced, table, contract, chosen, frozenset(leaving), self.progress))
                except FilesChangedError:
                    under += 1
        return replace(done, compacted=tuple(compacted), changed_under=under, recorded=recorded)

    def _days(
        self, groups: tuple[CompactionGroup, ...], table: Table, contract: TableContract, files: list[LiveFile]
    ) -> Iterable[tuple[list[CompactionGroup], Duplicates | None]]:
        """The groups of each day, with what stands twice in that day; files in which only that is to be done too."""
        known = duplicates.deduplication_of(contract, self.contracts)
        days = duplicates.by_day(files)
        for day in dict.fromkeys(group.day for group in groups):
            of_day, repeated = [group for group in groups if group.day == day], None
            if known is not None and duplicates.may_repeat(table, days[day], known):
                self.progress("duplicates")
                repeated = duplicates.find_repeated(self.settings, contract, days[day], known)
            grouped = {file.location for group in of_day for file in group.files}
            others = [live for live in days[day] if live.file.file_path not in grouped]
            alone = [live for live in others if repeated and repeated.stand_in(live.file.file_path)]
            yield [*of_day, *(_alone(live) for live in alone)], repeated

    def _record(self, contract: TableContract, repeated: Duplicates, at: datetime) -> int:
        self.progress("record")
        fenced = self._fenced(duplicates.TABLE)
        recorded = duplicates.record(fenced, self.contracts, contract.stream, repeated, at)
        self.progress("recorded")
        return recorded

    def _let_go(self, done: TableUpkeep, name: str) -> TableUpkeep:
        fenced, expired = self._fenced(name), ()
        if done.plan.manifests:
            self.progress("cluster")
            fenced.cluster_manifests({UPKEEP: "manifests"})
        metadata = self._load(name).metadata
        if leaving := superseded(metadata, self.policy.kept_snapshots):
            # The plan's, and those that this run's own commits put behind it.
            self.progress("expiry")
            expired = tuple(fenced.expire(leaving))
        return replace(done, clustered=bool(done.plan.manifests), expired=expired)

    def _sweep(self, done: TableUpkeep, name: str) -> TableUpkeep:
        """A sweep of what is marked long enough, and behind it the next look."""
        swept, what = None, done.plan.sweep
        if what == "resume":
            swept = resume(self._load(name), self.progress)
        elif what == "delete":
            swept = self._delete(name)
        if what in ("resume", "delete", "mark"):
            table = self._load(name)
            require_own_location(self.catalog, table)
            found = mark(table, self.held(table, self.now(table)), self.progress)
            return replace(done, swept=swept, marked=len(found.objects))
        return replace(done, swept=swept)

    def _delete(self, name: str) -> SweepReceipt | None:
        table = self._load(name)
        require_own_location(self.catalog, table)
        found = last_mark(table)
        if found is None or interrupted_sweep(table) is not None:
            return None
        try:
            return sweep(self._fenced(name), table, found, self.held(table, self.now(table)), self.progress)
        except SweepOvertakenError:
            return None

    def _fenced(self, name: str) -> FencedTable:
        identifier = (self.settings.namespace, name)
        return FencedTable(self.catalog, identifier, writer=self.writer, progress=self.progress)

    def _load(self, name: str) -> Table:
        return load_table(self.catalog, self.settings.namespace, name)


def policy_of(settings: Settings) -> UpkeepPolicy:
    """The house's policy with the site's wait."""
    return UpkeepPolicy(wait=timedelta(seconds=settings.upkeep_wait_seconds))


def _alone(live: LiveFile) -> CompactionGroup:
    file = live.file
    state = FileState(file.file_path, live.day, file.file_size_in_bytes, file.record_count, live.sequence)
    return CompactionGroup(live.day, (state,), "it has events that stand twice")
