"""Who consents at this moment, by the registry as the catalog has it: the last question before rows are written or go.

Holds: the question, of a few people. Does not hold: the decision (histories.py), nor who asks: what derives rows for a
use by consent (`assets/gate.py`), and an erasure of one use of several (`warehouse/erasure/still_serving.py`).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import numpy as np
import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.consent.filters import REGISTRY_TABLE
from warehouse.consent.histories import CLOCKS_US, NEEDED, Histories, microseconds
from warehouse.contract import Contracts
from warehouse.subjects import is_of


def consenting_now(
    tokens: Collection[str],
    purposes: Collection[str],
    streams: Collection[str],
    contracts: Contracts,
    catalog: Catalog,
    namespace: str,
    now: datetime,
) -> set[str]:
    """Those of `tokens` who at `now` (with a zone) consent to one of the purposes or more, each time for all streams.

    Raises `TableMismatchError` where there is no registry: then nobody can tell."""
    if not purposes or not tokens:
        return set()
    asked = pa.array(sorted(tokens), pa.string())
    told = Histories([topic.stream for topic in contracts.topics()])
    said = load_table(catalog, namespace, REGISTRY_TABLE).scan(selected_fields=NEEDED).to_arrow()
    told.take(said.filter(is_of(said, "subject_token", tokens)))
    at = np.full(len(asked), microseconds(now), np.int64)
    some = np.zeros(len(asked), bool)
    for purpose in purposes:
        every = np.ones(len(asked), bool)
        for stream in streams:
            decided = told.decisions(purpose, stream)
            # Twice: what is said for the next hour may take away, and gives nothing yet.
            every &= decided.permits(asked, at) & decided.permits(asked, at, CLOCKS_US)
        some |= every
    return set(asked.filter(pa.array(some)).to_pylist())
