"""Retention of a lake as commands and schedules ask for it: survey, apply, undo, holds, put together once.

Holds: the composition of looking, planning, costing, doing and purging, with the surroundings they need.
Does not hold: any of their rules, nor how results are shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyiceberg.catalog import Catalog

from warehouse.contract import Contracts
from warehouse.opened_lake import opened_lake
from warehouse.retention.cost import Cost, Prices, cost_of
from warehouse.retention.doer import Outcome, RejectKeyVault, RetentionDoer, retention_lock
from warehouse.retention.holds import EVERY_TABLE, Hold, HoldError
from warehouse.retention.observe import observe
from warehouse.retention.plan import KINDS, RetentionPlan, TableState, plan_retention
from warehouse.retention.purge import purge
from warehouse.retention.receipts import Receipt
from warehouse.settings import Settings
from warehouse.vault import open_vault


@dataclass(frozen=True, slots=True)
class Survey:
    """Tables as they are, what is due of them, and what that costs."""

    states: tuple[TableState, ...]
    plan: RetentionPlan
    cost: Cost
    prices: Prices


class Retention:
    """Retention of one lake. Args: as `RetentionDoer`'s."""

    def __init__(
        self,
        settings: Settings,
        contracts: Contracts,
        catalog: Catalog,
        vault: RejectKeyVault | None,
        *,
        writer: str,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._settings, self._contracts, self._catalog, self._vault = settings, contracts, catalog, vault
        self._clock = clock
        self._doer = RetentionDoer(
            settings,
            contracts,
            catalog,
            writer=writer,
            clock=clock,
            new_id=new_id,
            vault=vault,
            progress=progress,
        )

    def survey(self, tables: Iterable[str], now: datetime | None = None) -> Survey:
        """What is due of these tables at `now` (aware; the clock's time if None). Changes nothing.

        Raises `StoreUnavailableError`, OSError, `TableMismatchError` where the table of holds is missing, `PriceError`.
        """
        prices = Prices.of(self._settings.prices)
        states = observe(self._catalog, self._settings.namespace, self._contracts, tables)
        days = self._vault.reject_key_days() if self._vault else []
        cold = bool(self._settings.cold_warehouse)
        plan = plan_retention(states, self._doer.holds.in_force(), now or self._clock(), cold, days)
        return Survey(tuple(states), plan, cost_of(states, plan, prices), prices)

    def apply(
        self, tables: Iterable[str], kinds: Iterable[str] = KINDS, wait_seconds: float = 0.0
    ) -> tuple[Survey, Outcome]:
        """Tell what earlier runs left untold, plan by the clock's time, do it, and clear what lies cold and is over.

        `wait_seconds`: for another process of this host that is at it.

        Raises `BusyError`, and what the doer raises.
        """
        names = list(tables)
        with retention_lock(self._settings, wait_seconds):
            told = self._doer.settle(names)
            survey = self.survey(names)
            outcome = self._doer.apply(survey.plan, kinds)
            for name in names:
                purge(self._catalog, (self._settings.namespace, name), self._doer.book, self._clock())
        return survey, Outcome((*told, *outcome.receipts), outcome.refused)

    def undo(self, receipt: str, who: str, why: str) -> list[Receipt]:
        """Take an act back. Raises `UndoError`, `HoldError`, `BusyError`."""
        with retention_lock(self._settings):
            return self._doer.undo(receipt, who, why)

    def receipts(self) -> list[Receipt]:
        """All receipts, oldest first."""
        return self._doer.book.read()

    def holds(self) -> tuple[Hold, ...]:
        """Holds in force."""
        return self._doer.holds.in_force()

    def place(self, hold: Hold) -> list[Receipt]:
        """Place a hold; receipts of what it covers that left and can be taken back. Raises `HoldError`."""
        known = {table.name for table in self._contracts.tables()}
        if hold.table not in (*known, EVERY_TABLE):
            raise HoldError(f"no contract has a table {hold.table}; write one, or {EVERY_TABLE} for all")
        self._doer.holds.place(hold)
        late = [each for each in self.receipts() if each.act == "removed" and hold.covers(each.table_name, each.day)]
        return [each for each in late if each.undo_until is not None and each.undo_until > self._clock()]

    def lift(self, name: str, reason: str, who: str) -> Hold:
        """Lift a hold; which it was. Raises `HoldError`."""
        return self._doer.holds.lift(name, reason, who, self._clock())


@contextmanager
def opened_retention(
    settings: Settings,
    contracts: Contracts,
    *,
    writer: str,
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
) -> Generator[Retention]:
    """Retention of the lake that the settings name. Raises `LakeUnreachableError` and what the vault raises."""
    with opened_lake(settings) as catalog, _opened_vault(settings) as vault:
        yield Retention(settings, contracts, catalog, vault, writer=writer, clock=clock, new_id=new_id)


@contextmanager
def _opened_vault(settings: Settings) -> Generator[RejectKeyVault | None]:
    """The vault, or None where there is none yet: to destroy keys is no reason to make one."""
    if not Path(unquote(urlsplit(settings.vault_uri).path[1:])).exists():
        yield None
        return
    vault = open_vault(settings.vault_uri, time.monotonic)
    try:
        yield vault
    finally:
        vault.close()
