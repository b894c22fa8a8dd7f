"""Rows of `shadow_scores` with the outcomes that were said since: what champion and shadow are compared on.

Holds: the questions. Does not hold: the comparison (`pipelines/shadow_comparison.py`).
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.analytics import Analytics
from warehouse.models.training_rows import OUTCOMES, plain

_HOURS = """
SELECT subject_token, hour_start, hour_of_stay, score, risk, is_alerting,
       told_score, told_risk, told_alerting, told_again
FROM shadow_scores WHERE model_version = $version ORDER BY subject_token, hour_start
"""


def shadow_hours(analytics: Analytics, version: str) -> pa.Table:
    """Every hour that this shadow scored, by patient and time. Raises `LakeUnavailable`."""
    return plain(analytics.query(_HOURS, parameters={"version": version}).table)


def said_outcomes(analytics: Analytics) -> pa.Table:
    """The last outcome of each patient: `subject_token`, `outcome`, `onset_at`, `said_at`. Raises `LakeUnavailable`."""
    return plain(analytics.query(OUTCOMES).table)
