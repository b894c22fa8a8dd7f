"""What the lake knows of patients' last hours and scores: what a model that scores in the stream must remember.

Holds: the questions a restart asks, one a table, each bounded by positions and by time.
Does not hold: the state that is rebuilt from the answers (`pipelines/clinical/sepsis/`), or the rules' questions
(`history.py`).

Every answer is restricted to positions below `starts` (partition -> next offset) of one topic id: what lies at or above
is read from Kafka again, and must find the state as it was then. Times are effective times: event time, or when the
specimen was taken, never after `kafka_time` (decision 9). Patients whose newest row of the table is more than `silence`
older than the newest of all are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pyarrow as pa

from warehouse.analytics import Analytics

HOUR_MS = 3_600_000
"""Hours of the clock in whole numbers: a date_trunc asks a calendar for each row, at fifteen times the cost."""


def hourly_readings_below(
    analytics: Analytics,
    table: str,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    hours: int,
    silence: timedelta,
) -> pa.Table:
    """Of each patient, code and hour of the clock the unflagged reading of the latest effective time (of two at one
    time the larger), as far as `hours` before the patient's newest one, in order of time.

    Columns `subject_token`, `code`, `numeric_value`, `quality_flag`, `event_time`, `kafka_time`; `event_time` is the
    effective time.

    Args:
        table: `vitals` or `wearables`.
    """
    where, given = _bounds(analytics, table, "event_time", topic_id, starts, timedelta(hours=hours) + silence)
    return analytics.query(
        f"""
        WITH readings AS (
            SELECT subject_token, code, numeric_value, epoch_ms(least(event_time, kafka_time)) AS moment
            FROM {table}
            WHERE {where} AND quality_flag IS NULL AND numeric_value IS NOT NULL AND subject_token IS NOT NULL
              AND list_contains($codes, code)
        ), hourly AS (
            SELECT subject_token, code, arg_max(numeric_value, (moment, numeric_value)) AS numeric_value,
                   max(moment) AS moment
            FROM readings GROUP BY subject_token, code, moment // {HOUR_MS}
        )
        -- Behind the grouping: a window over every reading is held whole, and an hour stands by its latest one alone.
        SELECT subject_token, code, numeric_value, NULL::VARCHAR AS quality_flag,
               make_timestamptz(moment * 1000) AS event_time, make_timestamptz(moment * 1000) AS kafka_time
        FROM hourly
        QUALIFY moment > max(moment) OVER (PARTITION BY subject_token) - ($hours + 1) * {HOUR_MS}
        ORDER BY moment
        """,
        parameters={**given, "codes": list(codes), "hours": hours},
        repeating=("subject_token", "code", "quality_flag"),
    ).table


def results_of_hours_below(
    analytics: Analytics,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    hours: int,
    silence: timedelta,
) -> pa.Table:
    """Of each result (patient, order, code) the version that holds, if its specimen was taken or it was reported no
    more than `hours` before the patient's newest, in order of time.

    Columns `subject_token`, `event_id`, `order_id`, `code`, `numeric_value`, `status`, `collected_at`, `reported_at`,
    `quality_flag`, `kafka_time`.
    """
    where, given = _bounds(analytics, "labs", "collected_at", topic_id, starts, timedelta(hours=hours) + silence)
    return analytics.query(
        f"""
        WITH versions AS (
            SELECT subject_token, event_id, order_id, code, numeric_value, status, collected_at, reported_at,
                   quality_flag, kafka_time, greatest(least(collected_at, kafka_time), reported_at) AS moment
            FROM labs WHERE {where} AND subject_token IS NOT NULL AND list_contains($codes, code)
        ), kept AS (
            SELECT * FROM versions
            QUALIFY moment > max(least(moment, kafka_time)) OVER (PARTITION BY subject_token) - to_hours($hours + 1)
        )
        SELECT * EXCLUDE (moment) FROM kept
        QUALIFY row_number() OVER (
            PARTITION BY subject_token, order_id, code
            ORDER BY reported_at DESC, list_position(['P', 'F', 'C', 'X'], status) DESC, event_id DESC
        ) = 1
        ORDER BY collected_at
        """,
        parameters={**given, "codes": list(codes), "hours": hours},
    ).table


def admissions_below(analytics: Analytics, topic_id: str, starts: Mapping[int, int], lookback: timedelta) -> pa.Table:
    """Events of admissions from `lookback` before the newest one on.

    Columns `subject_token`, `stay_id`, `event_id`, `type`, `ward`, `bed`, `event_time`, `recorded_at`, `birth_year`,
    `sex`.
    """
    where, given = _bounds(analytics, "adt_events", "event_time", topic_id, starts, lookback)
    return analytics.query(
        "SELECT subject_token, stay_id, event_id, type, ward, bed, event_time, recorded_at, birth_year, sex "
        f"FROM adt_events WHERE {where} AND subject_token IS NOT NULL ORDER BY event_time",
        parameters=given,
    ).table


def measured_hours_below(
    analytics: Analytics,
    table: str,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    hours: int,
    silence: timedelta,
) -> pa.Table:
    """In which hours of the clock anything of `codes` was measured, as far as `hours` and `silence` before the newest
    row of all: `subject_token`, `hour` (its beginning). Where no admission tells, this is how a stay's beginning is
    known.

    Args:
        table: `vitals`, `wearables` or `labs`.
    """
    time = "collected_at" if table == "labs" else "event_time"
    standing = "AND status <> 'X' " if table == "labs" else ""
    where, given = _bounds(analytics, table, time, topic_id, starts, timedelta(hours=hours) + silence)
    return analytics.query(
        "SELECT subject_token, make_timestamptz(hour * 1000) AS hour FROM ("
        f"SELECT DISTINCT subject_token, epoch_ms(least({time}, kafka_time)) // {HOUR_MS} * {HOUR_MS} AS hour "
        f"FROM {table} WHERE {where} AND quality_flag IS NULL AND numeric_value IS NOT NULL {standing}"
        "AND subject_token IS NOT NULL AND list_contains($codes, code)) ORDER BY hour",
        parameters={**given, "codes": list(codes)},
    ).table


def last_scores(analytics: Analytics, tokens: Sequence[str], hours: int) -> pa.Table:
    """The score made last of each hour of these patients, as far as `hours` before the newest of the patient.

    Columns `subject_token`, `hour_start`, `hour_of_stay`, `score`, `threshold`, `model_version`, `scored_at`.
    """
    return analytics.query(
        """
        SELECT subject_token, hour_start, arg_max(hour_of_stay, (scored_at, kafka_offset)) AS hour_of_stay,
               arg_max(score, (scored_at, kafka_offset)) AS score,
               arg_max(threshold, (scored_at, kafka_offset)) AS threshold,
               arg_max(model_version, (scored_at, kafka_offset)) AS model_version, max(scored_at) AS scored_at
        FROM (
            SELECT * FROM scores WHERE list_contains($tokens, subject_token)
            QUALIFY hour_start > max(hour_start) OVER (PARTITION BY subject_token) - to_hours($hours)
        )
        GROUP BY subject_token, hour_start
        """,
        parameters={"tokens": list(tokens), "hours": hours},
    ).table


def _bounds(
    analytics: Analytics, table: str, time: str, topic_id: str, starts: Mapping[int, int], back: timedelta
) -> tuple[str, dict[str, object]]:
    """The condition on position and time, and its parameters."""
    place = " OR ".join(
        f"(kafka_partition = {int(p)} AND kafka_offset < {int(end)})" for p, end in sorted(starts.items())
    )
    where = f"topic_id = $topic_id AND ({place or 'false'})"
    newest = analytics.query(
        f"SELECT max(least({time}, kafka_time)) AS newest FROM {table} WHERE {where}", parameters={"topic_id": topic_id}
    ).table["newest"][0]
    oldest = newest.as_py() - back if newest.is_valid else None
    # A row effective after `oldest` happened after it; the day it lies in is known by its own time.
    return f"{where} AND {time} >= $oldest", {"topic_id": topic_id, "oldest": oldest}
