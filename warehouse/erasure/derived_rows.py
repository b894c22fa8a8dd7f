"""What is derived from rows that were read before somebody was erased brings nobody back.

Holds: the last look at the list of the erased before derived rows are committed, and the moment at which an erasure
waits for whoever looked before its fence.
Does not hold: the list (ledger.py), nor any deriving (`assets/derive.py`).

Who writes derived rows holds a lock with others of their kind from that look until the commit. An erasure that raised
its fence takes the lock for itself, once, before it deletes: whoever looked before the fence has committed by then, and
what they wrote is found; whoever looks later sees the fence. The end of a category does alike: its fence is the
registry of consent, which whoever derives rows for that use asks again under the lock (`warehouse/consent/now.py`).
Files that leave are put on record and in their place under it too (`infra/cli/exports.py`).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.erasure.ledger import Ledger
from warehouse.identity import FIRST_EPOCH
from warehouse.settings import Settings
from warehouse.subjects import is_of
from warehouse.vault import open_vault


@contextmanager
def beside_erasures(settings: Settings) -> Generator[Ledger]:
    """While what was read of people is put somewhere else: the list as it is now. An erasure whose fence is raised
    meanwhile waits. Raises what the vault raises."""
    with _lock(settings, fcntl.LOCK_SH):
        vault = open_vault(settings.vault_uri, time.monotonic)
        try:
            ledger = Ledger(vault, time.monotonic)
        finally:
            vault.close()
        yield ledger


@contextmanager
def writing_derived(settings: Settings) -> Generator[Callable[[pa.Table, str | None], pa.Table]]:
    """While derived rows are committed: what leaves out the rows of people who were erased, by a column of tokens
    (None: the table has none). Raises what the vault raises."""
    with beside_erasures(settings) as ledger:
        yield lambda rows, column: _without(rows, column, ledger) if column else rows


def await_derived(settings: Settings) -> None:
    """Wait for whoever is committing derived rows, or writing a file with rows of people, now."""
    with _lock(settings, fcntl.LOCK_EX):
        return


def _without(rows: pa.Table, column: str, ledger: Ledger) -> pa.Table:
    tokens = {token for token in rows[column].unique().to_pylist() if token is not None}
    erased = [token for token in tokens if ledger.epoch_of(token) != FIRST_EPOCH]
    if not erased:
        return rows
    return rows.filter(pc.invert(is_of(rows, column, erased)))


@contextmanager
def _lock(settings: Settings, kind: int) -> Generator[None]:
    path = settings.home / "locks" / "derived.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, kind)
        yield
