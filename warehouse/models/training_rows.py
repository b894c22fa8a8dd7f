"""Rows of the lake that a model learns from: stays with an outcome, of people who allow it, at named snapshots.

Holds: the questions, one a table.
Does not hold: the tags that keep the snapshots they read (`kept_snapshots.py`), nor hours, features and labels
(`pipelines/clinical/sepsis/lake_set.py`).

Rows come in an order of their own, whatever files they lie in: the same rows give the same model, byte for byte.

The stay of a patient is what lies in the `LONGEST_H` hours before the outcome was said; of several outcomes of a
patient the one said last holds. Where `purpose` rests on consent, each row is read only if its patient allows it now
and did at the time of that row, be it a reading, a result, an admission or the outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.analytics import Analytics
from warehouse.consent.filters import Purpose
from warehouse.score_history import HOUR_MS

LONGEST_H = 336
_NEVER = datetime(1970, 1, 15, tzinfo=UTC)
SOURCES = ("lab.results", "device.vitals", "iot.patient", "adt.events")
OUTCOMES = f"""
WITH said AS (
    SELECT *, max(event_time) OVER (PARTITION BY subject_token) AS said_at
    FROM alert_feedback WHERE action = 'outcome' AND outcome IS NOT NULL
)
SELECT subject_token, last.outcome AS outcome, last.onset_at AS onset_at, said_at, known_at FROM (
    SELECT subject_token, any_value(said_at) AS said_at,
           max_by({{'outcome': outcome, 'onset_at': onset_at}}, (event_time, kafka_time, event_id)) AS last,
           min(kafka_time) FILTER (outcome <> 'uncertain' AND event_time > said_at - to_hours({LONGEST_H})) AS known_at
    FROM said GROUP BY subject_token
) WHERE last.outcome <> 'uncertain' AND (last.outcome = 'no_sepsis' OR last.onset_at IS NOT NULL)
ORDER BY subject_token
"""
_ASKED = "asked AS (SELECT unnest($tokens::VARCHAR[]) AS subject_token, unnest($until::TIMESTAMPTZ[]) AS until)"
_READINGS = f"""
WITH {_ASKED}, readings AS (
    SELECT subject_token, code, numeric_value, epoch_ms(least(event_time, kafka_time)) AS moment
    FROM {{table}} JOIN asked USING (subject_token)
    WHERE ({{flagged}} OR quality_flag IS NULL) AND numeric_value IS NOT NULL AND list_contains($codes, code)
      AND event_time >= $oldest
      AND least(event_time, kafka_time) <= until
      AND least(event_time, kafka_time) > until - to_hours({LONGEST_H})
)
SELECT subject_token, code, arg_max(numeric_value, (moment, numeric_value)) AS numeric_value,
       NULL::VARCHAR AS quality_flag, make_timestamptz(max(moment) * 1000) AS event_time, event_time AS kafka_time
FROM readings GROUP BY subject_token, code, moment // {HOUR_MS} ORDER BY event_time, subject_token, code
"""
_RESULTS = f"""
WITH {_ASKED}
SELECT subject_token, event_id, order_id, code, numeric_value, status, collected_at, reported_at,
       CASE WHEN {{flagged}} THEN NULL ELSE quality_flag END AS quality_flag, kafka_time
FROM labs JOIN asked USING (subject_token)
WHERE list_contains($codes, code) AND {{known_at}} <= until AND collected_at > until - to_hours({LONGEST_H})
  AND collected_at >= $oldest
ORDER BY kafka_time, subject_token, event_id
"""
_ADMISSIONS = f"""
WITH {_ASKED}
SELECT subject_token, stay_id, event_id, type, ward, bed, event_time, recorded_at, birth_year, sex
FROM adt_events JOIN asked USING (subject_token) WHERE event_time <= until ORDER BY event_time, subject_token, event_id
"""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Attributes:
    outcomes: `subject_token`, `outcome`, `onset_at`, `said_at`, `known_at`, a row a patient. `known_at`: when the lake
        was first told how this stay ended, however often it was said again since.
    vitals, wearables, results, admissions: rows as the stream's memory of hours takes them.
    snapshots: of each table that was read.
    withheld: patients with an outcome who do not allow it.
    """

    outcomes: pa.Table
    vitals: pa.Table
    wearables: pa.Table
    results: pa.Table
    admissions: pa.Table
    snapshots: Mapping[str, int]
    withheld: int


def read_training_rows(
    analytics: Analytics,
    codes: Sequence[str],
    purpose: Purpose,
    said: tuple[datetime, datetime] | None = None,
    as_of: datetime | None = None,
    left_out: Callable[[list[str]], Collection[str]] = lambda tokens: (),
) -> TrainingRows:
    """Everything of the patients with an outcome that serves the purpose, of those said from the first moment of `said`
    up to the second where it is given. `as_of`: only what the lake knew by then; what may be read is asked as of the
    purpose's moment. `left_out`: which of these people are not to be read. Raises `LakeUnavailable`.
    """
    every, allowed = analytics.query(OUTCOMES, as_of=as_of), analytics.query(OUTCOMES, as_of=as_of, purpose=purpose)
    known = _within(plain(every.table), said)
    if gone := left_out(known["subject_token"].to_pylist()):
        known = known.filter(pc.invert(pc.is_in(known["subject_token"], pa.array(sorted(gone), pa.string()))))
    # An outcome said before the last one counts for nothing, whether the last one may be used or not.
    last, outcomes = set(zip(*_said_when(known), strict=True)), plain(allowed.table)
    outcomes = outcomes.filter(pa.array([each in last for each in zip(*_said_when(outcomes), strict=True)], pa.bool_()))
    read = read_rows(analytics, *_said_when(outcomes), codes, as_of=as_of, purpose=purpose)
    snapshots = {name: each for name, each in {**allowed.snapshots, **read[1]}.items() if each is not None}
    return TrainingRows(outcomes, *read[0], snapshots, len(known) - len(outcomes))


def _within(outcomes: pa.Table, said: tuple[datetime, datetime] | None) -> pa.Table:
    if said is None:
        return outcomes
    at = outcomes["said_at"]
    return outcomes.filter(pc.and_(pc.greater_equal(at, _scalar(said[0])), pc.less(at, _scalar(said[1]))))


def _said_when(outcomes: pa.Table) -> tuple[list[str], list[datetime]]:
    return outcomes["subject_token"].to_pylist(), outcomes["said_at"].to_pylist()


def read_rows(
    analytics: Analytics,
    tokens: list[str],
    until: list[datetime],
    codes: Sequence[str],
    *,
    flagged: bool = False,
    late_results: bool = False,
    as_of: datetime | None = None,
    purpose: Purpose | None = None,
) -> tuple[tuple[pa.Table, pa.Table, pa.Table, pa.Table], dict[str, int | None]]:
    """Vitals, wearables, results and admissions of patients up to a moment each.

    `flagged`: implausible ones too. `late_results`: also results of specimens taken up to the moment and released
    later. `as_of`: rows as they were known then.
    """
    asked = {"tokens": tokens, "until": until}
    # By the laboratory's own clock: a history that is sent today was not unknown until today.
    known_at = f"least({'collected_at' if late_results else 'reported_at'}, kafka_time)"
    flag, coded = str(flagged).lower(), {**asked, "codes": list(codes), "oldest": oldest(until)}
    answers = [
        analytics.query(sql, parameters=given, as_of=as_of, purpose=purpose)
        for sql, given in (
            (_READINGS.format(table="vitals", flagged=flag), coded),
            (_READINGS.format(table="wearables", flagged=flag), coded),
            (_RESULTS.format(flagged=flag, known_at=known_at), coded),
            (_ADMISSIONS, asked),
        )
    ]
    snapshots = {name: each for answer in answers for name, each in answer.snapshots.items()}
    first, second, third, fourth = (plain(answer.table) for answer in answers)
    return (first, second, third, fourth), snapshots


def oldest(until: Sequence[datetime]) -> datetime:
    """The earliest time of any stay that ends at one of these: implied by each patient's own bound, and what a scan can
    leave days out by."""
    return min(until, default=_NEVER) - timedelta(hours=LONGEST_H)


def _scalar(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", "UTC"))


def plain(table: pa.Table) -> pa.Table:
    """The same with times as microseconds UTC, texts as texts, however DuckDB names them."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        if pa.types.is_timestamp(column.type):
            column = pc.cast(column, pa.timestamp("us", "UTC"))
        columns[name] = column
    return pa.table(columns)
