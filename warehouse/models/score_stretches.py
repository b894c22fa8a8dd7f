"""The stream's own scores, as numbers a stay: what a detector of change is led on by.

Holds: the question. Does not hold: the detector (`pipelines/clinical/sepsis/drift_monitors.py`).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from warehouse.analytics import Analytics

FIRST_HOURS = 24
_FIRST_DAYS = f"""
WITH told AS (
    SELECT subject_token, hour_start, arg_max(hour_of_stay, (scored_at, kafka_offset)) AS hour_of_stay,
           arg_max(risk, (scored_at, kafka_offset)) AS risk
    FROM scores WHERE model_version = $version AND hour_start >= $oldest AND hour_start < $until GROUP BY ALL
)
SELECT avg(risk) AS risk, max(hour_start) AS ended_at
FROM told WHERE hour_of_stay BETWEEN 1 AND {FIRST_HOURS}
GROUP BY subject_token, hour_start - to_hours(hour_of_stay)
HAVING max(hour_of_stay) = {FIRST_HOURS} AND max(hour_start) >= $since
ORDER BY ended_at, risk
"""


def first_days(analytics: Analytics, version: str, since: datetime, until: datetime) -> list[float]:
    """Mean risk of the first `FIRST_HOURS` hours of every stay whose hour of that number began from `since` on and
    before `until`, in the order of these hours. Raises `LakeUnavailable`."""
    oldest = since - timedelta(hours=FIRST_HOURS)
    asked = {"version": version, "since": since, "until": until, "oldest": oldest}
    return analytics.query(_FIRST_DAYS, parameters=asked).table["risk"].to_pylist()
