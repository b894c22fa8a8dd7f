"""Files that left as a store of erasure: those that `wardstream sql --output` put on record.

Holds: what ties the store to this machine and its home.
Does not hold: the store (`warehouse/erasure/exports.py`), the record (`infra/cli/exports.py`).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from warehouse.erasure.exports import ExportStore
from warehouse.exports import Exports
from warehouse.vault import LEDGER_KEY

if TYPE_CHECKING:
    from warehouse.erasure.run import Erasure


def export_store(erasure: Erasure) -> ExportStore:
    """The store of the files that left the lake that an erasure is of."""
    settings = erasure.settings
    return ExportStore(
        register=Exports(erasure.catalog, settings.namespace, erasure.contracts, erasure.who),
        key=erasure.vault.house_key(LEDGER_KEY),
        home=settings.home,
        host=socket.gethostname(),
        who=erasure.who,
        clock=erasure.clock,
        progress=erasure.progress,
    )
