"""What scoring in the stream must remember of before a position, from the lake's answers.

Holds: the rebuilding of a `SepsisMonitor`, by its questions to each table.
Does not hold: the questions (`warehouse/score_history.py`), the alerts (`rules_before.py` collects them), or the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pyarrow as pa

from pipelines.clinical.sepsis.history import ADMISSIONS_KEPT, LONGEST_STAY_H
from pipelines.clinical.sepsis.stream_score import ADMISSIONS, RESULTS, VITALS, WEARABLES, Before, SepsisMonitor
from pipelines.clinical.sepsis.variables import BY_CODE
from warehouse import score_history
from warehouse.analytics import Analytics

FORGET_AFTER = timedelta(days=7)
_TABLES = {VITALS: "vitals", WEARABLES: "wearables", RESULTS: "labs"}
Watched = Mapping[str, tuple[str, dict[int, int]]]
"""stream -> its topic's id, and the offset of each partition from which it is read again"""


def rebuild_scores(monitor: SepsisMonitor, analytics: Analytics, watched: Watched, past: pa.Table) -> None:
    """Let the monitor become what it was. `past`: alerts as `AlertsBefore.past` gives them."""
    codes, hours = list(BY_CODE), monitor.history.hours
    rows: dict[str, pa.Table] = {}
    measured: list[pa.Table] = []
    for stream in (VITALS, WEARABLES):
        if stream in watched:
            rows[stream] = score_history.hourly_readings_below(
                analytics, _TABLES[stream], *watched[stream], codes, hours, FORGET_AFTER
            )
    if RESULTS in watched:
        rows[RESULTS] = score_history.results_of_hours_below(analytics, *watched[RESULTS], codes, hours, FORGET_AFTER)
    for stream in rows:
        measured.append(
            score_history.measured_hours_below(
                analytics, _TABLES[stream], *watched[stream], codes, LONGEST_STAY_H, FORGET_AFTER
            )
        )
    if ADMISSIONS in watched:
        rows[ADMISSIONS] = score_history.admissions_below(analytics, *watched[ADMISSIONS], ADMISSIONS_KEPT)
    tokens = sorted({token for table in rows.values() for token in table["subject_token"].unique().to_pylist()})
    told = score_history.last_scores(analytics, tokens, monitor.history.reach_h)
    monitor.restore(Before(rows, measured), told, past)
