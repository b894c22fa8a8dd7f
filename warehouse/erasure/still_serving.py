"""Whose data a table goes on serving when one category of use ends: tables kept for several, all by consent.

Holds: the question to the registry of consents. Whoever still consents to another of a table's purposes keeps
their rows in it; with those of everybody else nothing may be done any more, and so they go.
Does not hold: the decision about consent (`warehouse/consent`), nor which tables those are (inventory.py).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.consent.filters import REGISTRY_TABLE
from warehouse.consent.histories import CLOCKS_US, NEEDED, Histories, microseconds
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
    others = sorted(set(stream.purposes) - {ending})
    requests = by_token(subjects)
    if not others or not requests:
        return set()
    told = Histories([topic.stream for topic in contracts.topics()])
    said = load_table(catalog, namespace, REGISTRY_TABLE).scan(selected_fields=NEEDED).to_arrow()
    told.take(said.filter(pc.is_in(said["subject_token"].cast(pa.string()), pa.array(sorted(requests)))))
    tokens, at = pa.array(sorted(requests), pa.string()), np.full(len(requests), microseconds(now), np.int64)
    holds = np.zeros(len(requests), bool)
    for purpose in others:
        holds |= told.decisions(purpose, stream.name, sorted(requests)).permits(tokens, at, CLOCKS_US)
    return {requests[token] for token in tokens.filter(pa.array(holds)).to_pylist()}
