"""What is read of the registry in the lake: all of it as a memory, one person's part, and who consents.

Does not hold: the decision (`decision.py`), the session (`warehouse/analytics.py`), which keeps itself to a purpose.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from warehouse.analytics import Analytics
from warehouse.consent.decision import folded
from warehouse.consent.filters import REGISTRY_TABLE
from warehouse.consent.histories import NEEDED, Histories, microseconds

_ALL = f"SELECT {', '.join(NEEDED)} FROM {REGISTRY_TABLE}"
_OF_ONE = f"SELECT * FROM {REGISTRY_TABLE} WHERE subject_token = $token ORDER BY kafka_time, kafka_offset"
_OF_SOME = f"{_ALL} WHERE subject_token IN (SELECT unnest($tokens))"


def read_histories(analytics: Analytics, streams: Collection[str], tokens: Sequence[str] | None = None) -> Histories:
    """Everything that was said, or what was said of these people. `streams`: names that a scope may mean.

    Raises `LakeUnavailable`.
    """
    told = Histories(streams)
    if tokens is None:
        told.take(analytics.query(_ALL).table)
    else:
        told.take(analytics.query(_OF_SOME, parameters={"tokens": list(tokens)}).table)
    return told


def history_of(analytics: Analytics, token: str) -> list[dict[str, Any]]:
    """The registry's rows of one person, in the order in which they became known."""
    return analytics.query(_OF_ONE, parameters={"token": token}).table.to_pylist()


def consenting(
    analytics: Analytics,
    streams: Collection[str],
    tokens: Sequence[str | None],
    purpose: str,
    as_of: datetime,
    *,
    of: Collection[str],
    times: Sequence[datetime] | None = None,
) -> np.ndarray:
    """bool[n]: whose data may be used for a purpose, at `as_of` (with a zone): what trains a model or leaves the house.

    Each must consent at `as_of` by all that is known now, for every stream of `of`; with `times` (one a token, with a
    zone) also at the time of the row. `streams`: names that a scope may mean. Raises `LakeUnavailable`.
    """
    asked = pa.array(tokens, pa.string())
    distinct = [token for token in asked.unique().to_pylist() if token is not None]
    told = read_histories(analytics, streams, distinct)
    now_us = microseconds(as_of)
    at_us = np.full(len(asked), now_us) if times is None else np.array([microseconds(at) for at in times], np.int64)
    allowed = np.ones(len(asked), bool)
    for stream in of:
        allowed &= told.permits_use(asked, at_us, folded(purpose), stream, now_us)
    return allowed
