"""Rows of the lake as they were sent, of patients measured in some days: what drift and shadows are judged on.

Holds: who was measured, the rows of their stays, and where they lay at which monitor.
Does not hold: hours, facts, verdicts (`pipelines/clinical/sepsis/`), nor what models learn from (`training_rows.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa

from warehouse.analytics import Analytics
from warehouse.consent.registry import consenting
from warehouse.contract_model import CONSENTED_PURPOSES
from warehouse.models.training_rows import LONGEST_H, SOURCES, oldest, plain, read_rows

_WITHIN = """
    WHERE {time} >= $since AND {time} < $until AND numeric_value IS NOT NULL AND subject_token IS NOT NULL
      AND list_contains($codes, code)
"""
_MEASURED = " UNION ".join(
    f"SELECT subject_token FROM {table} {_WITHIN.format(time=time)}"
    for table, time in (("vitals", "event_time"), ("wearables", "event_time"), ("labs", "collected_at"))
)
_PLACES = f"""
WITH asked AS (SELECT unnest($tokens::VARCHAR[]) AS subject_token, unnest($until::TIMESTAMPTZ[]) AS until),
seen AS (
    SELECT subject_token, ward, device_id, count(*) AS n FROM vitals JOIN asked USING (subject_token)
    WHERE event_time >= $oldest AND event_time <= until AND event_time > until - to_hours({LONGEST_H})
      AND list_contains($codes, code)
    GROUP BY ALL
), wards AS (SELECT subject_token, ward, sum(n) AS n FROM seen WHERE ward IS NOT NULL GROUP BY ALL),
devices AS (SELECT subject_token, device_id, sum(n) AS n FROM seen WHERE device_id IS NOT NULL GROUP BY ALL)
SELECT subject_token, w.ward AS ward, d.device AS device FROM asked
LEFT JOIN (SELECT subject_token, arg_max(ward, (n, ward)) AS ward FROM wards GROUP BY ALL) w USING (subject_token)
LEFT JOIN (SELECT subject_token, arg_max(device_id, (n, device_id)) AS device FROM devices GROUP BY ALL) d
    USING (subject_token)
ORDER BY subject_token
"""


@dataclass(frozen=True, slots=True)
class RecentRows:
    """Attributes:
    vitals, wearables, results, admissions: rows as the stream's memory of hours takes them; implausible ones too.
    places: `subject_token`, `ward`, `device`: where most of each patient's readings came from.
    snapshots: of each table that was read. withheld: patients who do not allow it.
    """

    vitals: pa.Table
    wearables: pa.Table
    results: pa.Table
    admissions: pa.Table
    places: pa.Table
    snapshots: Mapping[str, int]
    withheld: int


def measured_between(
    analytics: Analytics, codes: Sequence[str], since: datetime, until: datetime, as_of: datetime | None = None
) -> list[str]:
    """Pseudonyms of all who have a value from `since` on and before `until`, sorted. Raises `LakeUnavailable`."""
    asked = {"since": since, "until": until, "codes": list(codes)}
    return sorted(analytics.query(_MEASURED, parameters=asked, as_of=as_of).table["subject_token"].to_pylist())


def read_recent(
    analytics: Analytics,
    streams: Sequence[str],
    codes: Sequence[str],
    *,
    days: tuple[datetime, datetime],
    purpose: str,
    now: datetime,
    as_of: datetime | None = None,
) -> RecentRows:
    """Everything, up to the end of `days`, of those measured in these. Where `purpose` rests on consent, of those who
    allow it at the end of the days and now. `streams`: names that a scope of consent may mean.

    Raises `LakeUnavailable`.
    """
    since, until = days
    tokens, withheld = measured_between(analytics, codes, since, until, as_of), 0
    if purpose in CONSENTED_PURPOSES and tokens:
        allowed = consenting(analytics, streams, tokens, purpose, now, of=SOURCES, times=[until] * len(tokens))
        withheld = int(np.count_nonzero(~allowed))
        tokens = [token for token, may in zip(tokens, allowed.tolist(), strict=True) if may]
    return read_as_sent(analytics, tokens, [until] * len(tokens), codes, as_of=as_of, withheld=withheld)


def read_as_sent(
    analytics: Analytics,
    tokens: list[str],
    until: list[datetime],
    codes: Sequence[str],
    *,
    as_of: datetime | None = None,
    withheld: int = 0,
) -> RecentRows:
    """Everything of these patients up to a moment each, values as they were sent. Raises `LakeUnavailable`."""
    rows, snapshots = read_rows(analytics, tokens, until, codes, flagged=True, late_results=True, as_of=as_of)
    asked = {"tokens": tokens, "until": until, "codes": list(codes), "oldest": oldest(until)}
    places = analytics.query(_PLACES, parameters=asked, as_of=as_of)
    read = {**snapshots, **places.snapshots}
    known = {name: each for name, each in read.items() if each is not None}
    return RecentRows(*rows, plain(places.table), known, withheld)
