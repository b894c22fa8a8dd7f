"""Whose data a table goes on serving when one category of use ends: tables kept for several, all by consent.

Holds: what is asked of the registry of consents. Whoever still consents to another of a table's purposes keeps
their rows in it; with those of everybody else nothing may be done any more, and so they go.
Does not hold: the decision about consent (`warehouse/consent`), nor which tables those are (inventory.py).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from pyiceberg.catalog import Catalog

from warehouse.consent.now import consenting_now
from warehouse.contract import Contracts, StreamContract
from warehouse.erasure.stores import Subject, by_token


def still_served(
    subjects: Collection[Subject],
    stream: StreamContract,
    ending: str,
    contracts: Contracts,
    catalog: Catalog,
    namespace: str,
    now: datetime,
) -> set[str]:
    """Requests of people who now (with a zone) consent to a purpose of the stream other than the one that ends.

    Raises `TableMismatchError` where there is no registry: then nobody can tell, and nothing may go."""
    others, requests = sorted(set(stream.purposes) - {ending}), by_token(subjects)
    keeping = consenting_now(requests, others, (stream.name,), contracts, catalog, namespace, now)
    return {requests[token] for token in keeping}
