"""What the lake already knows and a starting stream must remember: identities, readings and alerts below a position.

Holds: the questions a restart asks of the tables, each bounded by positions or by event time.
Does not hold: the state that is rebuilt from the answers (pipelines), or any question a person asks (sql/).

Every answer is restricted to positions below `starts` (partition -> next offset) of one topic id: what lies at or
above is read from Kafka again, and must find the state as it was then.

Readings are compared by the time that rules reckon in: event time, but never after `kafka_time` (decision 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.analytics import Analytics

_LAST_ROWS = 1_000
"""Among so many of each partition the newest is looked for: appended in order, or nearly."""
_NO_IDENTITIES = pa.schema(
    [
        ("event_id", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("kafka_time", pa.timestamp("us", "UTC")),
    ]
)


def identities_below(
    analytics: Analytics, table: str, key: str, topic_id: str, starts: Mapping[int, int], most: int
) -> pa.Table:
    """The last `most` events of a table below `starts`: event_id, kafka_partition, kafka_offset, kafka_time, unsorted.

    Bounded by offsets, of which the data files keep ranges: files that hold older positions only are not opened.
    """
    if not any(starts.values()):
        return _NO_IDENTITIES.empty_table()
    each = max(1, most // max(1, len(starts)))
    where = _between(starts, {p: max(0, offset - each) for p, offset in starts.items()})
    return analytics.query(
        f"SELECT {key} AS event_id, kafka_partition, kafka_offset, kafka_time FROM {table} "
        f"WHERE topic_id = $topic_id AND ({where})",
        parameters={"topic_id": topic_id},
    ).table


def positions_since(analytics: Analytics, topic_id: str, starts: Mapping[int, int], back: timedelta) -> dict[int, int]:
    """partition -> the first position of `vitals` below `starts` that was appended no longer than `back` before the
    newest, by what was appended last; the start itself of a partition without such."""
    where, given = f"topic_id = $topic_id AND ({_between(starts)})", {"topic_id": topic_id}
    last = _between(starts, {p: max(0, offset - _LAST_ROWS) for p, offset in starts.items()})
    newest = analytics.query(
        f"SELECT max(kafka_time) AS newest FROM vitals WHERE topic_id = $topic_id AND ({last})", parameters=given
    ).table
    if not newest["newest"][0].is_valid:
        return dict(starts)
    found = analytics.query(
        f"SELECT kafka_partition, min(kafka_offset) AS first FROM vitals WHERE {where} AND kafka_time >= $since "
        "GROUP BY ALL",
        parameters=given | {"since": newest["newest"][0].as_py() - back},
    ).table
    return {**starts, **dict(zip(found["kafka_partition"].to_pylist(), found["first"].to_pylist(), strict=True))}


def readings_below(
    analytics: Analytics,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    alerted: Sequence[str],
    lookback: timedelta,
    silence: timedelta,
    glanced: Sequence[str] = (),
    since: Mapping[int, int] | None = None,
) -> pa.Table:
    """What the rules must remember of each patient: unflagged readings of `codes` below `starts`, each partition's in
    order of position.

    Of the patients in `alerted` (subject tokens) all readings from `lookback` before their newest one; of those in
    `glanced` all from `since` (partition -> offset) on, and the newest of each code before; of the others the newest
    of each code; new and old by effective time. Patients whose newest reading is more than `silence` older than the
    newest of all are left out: a rule that meets such a patient again starts anew. Asked for by aggregates and joins:
    windows over all of it would not fit the session's memory.
    """
    since = since or starts
    below = f"({_between(starts)})"
    back = silence + lookback
    oldest = _oldest(analytics, "vitals", _EFFECTIVE, f"topic_id = $topic_id AND {below}", topic_id, back)
    where = _READINGS.format(place=below)
    given = {"topic_id": topic_id, "codes": list(codes), "oldest": oldest}
    each_code = _NEWEST_OF_EACH_CODE.format(where=where, before=_between(since))
    parts = [analytics.query(each_code, parameters=given, repeating=_REPEATING).table]
    if glanced:
        recent = _READINGS.format(place=f"({_between(starts, since)})")
        some = given | {"some": list(glanced)}
        parts.append(analytics.query(_ALL_OF_SOME.format(where=recent), parameters=some, repeating=_REPEATING).table)
    if alerted:
        whole = given | {"alerted": list(alerted), "lookback": lookback.total_seconds()}
        parts.append(
            analytics.query(_ALL_OF_THE_ALERTED.format(where=where), parameters=whole, repeating=_REPEATING).table
        )
    return _each_once(parts)


def _each_once(parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of several answers in the order of position, those in more than one once. The first has a row or two a
    patient and code, the others may have millions."""
    rows = parts[0]
    for part in parts[1:]:
        twice = pc.is_in(pa.array(_positions(part)), pa.array(_positions(rows)))
        rows = pa.concat_tables([rows, part.filter(pc.invert(twice))])
    return rows.unify_dictionaries().take(np.argsort(_positions(rows), kind="stable"))


def _positions(rows: pa.Table) -> np.ndarray:
    """int64[n] in the order of partition and offset, one a position: offsets stay below 2**48."""
    return (rows["kafka_partition"].to_numpy().astype(np.int64) << 48) + rows["kafka_offset"].to_numpy()


_EFFECTIVE = "least(event_time, kafka_time)"
_COLUMNS = (
    "v.subject_token, v.ward, v.code, v.numeric_value, v.text_value, v.quality_flag, v.event_time, v.received_at, "
    "v.kafka_partition, v.kafka_offset, v.kafka_time"
)
_REPEATING = ("subject_token", "ward", "code", "text_value", "quality_flag")
_READINGS = (
    "topic_id = $topic_id AND {place} AND quality_flag IS NULL AND subject_token IS NOT NULL "
    # The first of the two says nothing more, but days and files are known by event time: the others are not opened.
    f"AND list_contains($codes, code) AND event_time >= $oldest AND {_EFFECTIVE} >= $oldest"
)
# Rules compare times by the millisecond; of those that are equal the last position counts, so all of them are taken.
# In whole numbers: DuckDB's date_trunc of a timestamptz asks a calendar for each row, at fifteen times the cost.
_NEWEST_OF_EACH_CODE = f"""
WITH readings AS (SELECT *, epoch_ms({_EFFECTIVE}) AS effective FROM vitals WHERE {{where}}),
     newest AS (
         SELECT subject_token, code, max(effective) AS at, max(effective) FILTER ({{before}}) AS before
         FROM readings GROUP BY ALL
     )
SELECT {_COLUMNS} FROM readings v JOIN newest n
    ON v.subject_token = n.subject_token AND v.code = n.code AND (v.effective = n.at OR v.effective = n.before)
"""
_ALL_OF_SOME = f"""
SELECT {_COLUMNS} FROM vitals v SEMI JOIN (SELECT unnest($some) AS subject_token) USING (subject_token) WHERE {{where}}
"""
_ALL_OF_THE_ALERTED = f"""
WITH readings AS (SELECT *, {_EFFECTIVE} AS effective FROM vitals WHERE {{where}}),
     alerted AS (SELECT unnest($alerted) AS subject_token),
     newest AS (
         SELECT r.subject_token, max(r.effective) AS at FROM readings r JOIN alerted a
             ON r.subject_token = a.subject_token GROUP BY ALL
     )
SELECT {_COLUMNS} FROM readings v JOIN newest n ON v.subject_token = n.subject_token
WHERE v.effective >= n.at - to_seconds($lookback)
"""


def last_alerts_below(analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int]) -> pa.Table:
    """The alerts of the newest episode of each rule and subject whose readings lie below `starts`: all columns."""
    return analytics.query(
        f"SELECT * FROM {table} WHERE source_topic_id = $topic_id AND ({_between(starts, prefix='source')}) "
        "QUALIFY episode_start = max(episode_start) OVER (PARTITION BY rule, subject_token)",
        parameters={"topic_id": topic_id},
    ).table


def _between(ends: Mapping[int, int], starts: Mapping[int, int] | None = None, prefix: str = "kafka") -> str:
    """An SQL condition on positions; numbers only, so nothing can be smuggled in."""
    parts = [
        f"({prefix}_partition = {int(p)} AND {prefix}_offset < {int(end)}"
        + (f" AND {prefix}_offset >= {int(starts[p])}" if starts else "")
        + ")"
        for p, end in sorted(ends.items())
    ]
    return " OR ".join(parts) or "false"


def alerts_from(analytics: Analytics, table: str, watched: Mapping[str, Mapping[int, int]]) -> pa.Table:
    """The alerts whose triggering row lies at or above a position (topic id -> partition -> offset), all columns: they
    will be decided again."""
    parts = [
        f"(source_topic_id = $topic_{nth} AND source_partition IN ({', '.join(str(int(p)) for p in starts) or 'NULL'}) "
        f"AND NOT ({_between(starts, prefix='source')}))"
        for nth, starts in enumerate(watched.values())
    ]
    return analytics.query(
        f"SELECT * FROM {table} WHERE {' OR '.join(parts) or 'false'}",
        parameters={f"topic_{nth}": topic_id for nth, topic_id in enumerate(watched)},
    ).table


def alerts_with_evidence(
    analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int], lookback: timedelta
) -> pa.Table:
    """The alerts that tell what they were reckoned from, and what takes alerts back, whose rows lie below `starts`: of
    each subject those from `lookback` before the newest such one, by their effective time."""
    return analytics.query(
        f"SELECT * FROM {table} WHERE source_topic_id = $topic_id AND ({_between(starts, prefix='source')}) "
        "AND (evidence IS NOT NULL OR retracts IS NOT NULL) "
        "QUALIFY effective_at > max(effective_at) OVER (PARTITION BY subject_token) - to_seconds($lookback)",
        parameters={"topic_id": topic_id, "lookback": lookback.total_seconds()},
    ).table


def alerts_of_rule_below(
    analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int], rule: str, lookback: timedelta
) -> pa.Table:
    """The alerts of a rule, and what takes them back, whose rows lie below `starts`: of each subject those from
    `lookback` before the newest, by their effective time."""
    return analytics.query(
        f"SELECT * FROM {table} WHERE source_topic_id = $topic_id AND ({_between(starts, prefix='source')}) "
        "AND rule = $rule "
        "QUALIFY effective_at > max(effective_at) OVER (PARTITION BY subject_token) - to_seconds($lookback)",
        parameters={"topic_id": topic_id, "rule": rule, "lookback": lookback.total_seconds()},
    ).table


def results_below(
    analytics: Analytics,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    alerted: Sequence[str],
    orders: int,
    lookback: timedelta,
    silence: timedelta,
) -> pa.Table:
    """Versions of laboratory results of `codes` below `starts`, each partition's in order of position: of each patient
    and code those of the `orders` orders with the newest specimens, and of the patients in `alerted` all whose
    specimens were taken from `lookback` before the newest. What is more than `silence` older than the newest of all is
    left out."""
    where = f"topic_id = $topic_id AND ({_between(starts)})"
    oldest = _oldest(analytics, "labs", "collected_at", where, topic_id, silence)
    return analytics.query(
        "WITH results AS (SELECT subject_token, event_id, order_id, code, numeric_value, status, quality_flag, "
        "collected_at, reported_at, kafka_partition, kafka_offset, kafka_time, "
        "least(collected_at, kafka_time) AS effective, "
        "max(least(collected_at, kafka_time)) OVER (PARTITION BY subject_token, code, order_id) AS of_order, "
        "max(least(collected_at, kafka_time)) OVER (PARTITION BY subject_token) AS newest "
        f"FROM labs WHERE {where} AND subject_token IS NOT NULL AND list_contains($codes, code) "
        "AND collected_at >= $oldest) "
        "SELECT * EXCLUDE (effective, of_order, newest) FROM results "
        "QUALIFY dense_rank() OVER (PARTITION BY subject_token, code ORDER BY of_order DESC, order_id) <= $orders "
        "OR (list_contains($alerted, subject_token) AND effective >= newest - to_seconds($lookback)) "
        "ORDER BY kafka_partition, kafka_offset",
        parameters={
            "topic_id": topic_id, "codes": list(codes), "alerted": list(alerted), "orders": orders, "oldest": oldest,
            "lookback": lookback.total_seconds(),
        },
    ).table  # fmt: skip


def samples_below(
    analytics: Analytics, topic_id: str, starts: Mapping[int, int], code: str, lookback: timedelta, silence: timedelta
) -> pa.Table:
    """Unflagged readings of one code of `wearables` below `starts`, each partition's in order of position: of each
    patient those from `lookback` before the newest, by effective time."""
    where = f"topic_id = $topic_id AND ({_between(starts)}) AND code = $code"
    oldest = _oldest(analytics, "wearables", "event_time", where, topic_id, silence, code=code)
    return analytics.query(
        "SELECT subject_token, code, numeric_value, quality_flag, event_time, kafka_partition, kafka_offset, "
        f"kafka_time FROM wearables WHERE {where} AND subject_token IS NOT NULL AND quality_flag IS NULL "
        f"AND event_time >= $oldest "
        f"QUALIFY {_EFFECTIVE} >= max({_EFFECTIVE}) OVER (PARTITION BY subject_token) - to_seconds($lookback) "
        "ORDER BY kafka_partition, kafka_offset",
        parameters={"topic_id": topic_id, "code": code, "oldest": oldest, "lookback": lookback.total_seconds()},
    ).table


def medication_below(analytics: Analytics, topic_id: str, starts: Mapping[int, int], codes: Sequence[str]) -> pa.Table:
    """What was said last of each of these drugs below `starts`: administered or stopped, all rows of the newest
    effective millisecond of each patient and drug."""
    return analytics.query(
        "SELECT subject_token, code, action, dose, unit, event_time, kafka_partition, kafka_offset, kafka_time "
        f"FROM medication_events WHERE topic_id = $topic_id AND ({_between(starts)}) AND subject_token IS NOT NULL "
        "AND list_contains($codes, code) AND action IN ('administered', 'stopped') "
        f"QUALIFY epoch_ms({_EFFECTIVE}) = max(epoch_ms({_EFFECTIVE})) OVER (PARTITION BY subject_token, code) "
        "ORDER BY kafka_partition, kafka_offset",
        parameters={"topic_id": topic_id, "codes": list(codes)},
    ).table


def windows_below(
    analytics: Analytics,
    topic_id: str,
    starts: Mapping[int, int],
    rate: str,
    pressure: str,
    window_ms: int,
    windows: int,
) -> pa.Table:
    """Sums over windows of `window_ms` of two codes of `vitals` below `starts`: of each patient the last `windows`
    before the newest, where that lies no more than twice as many before the newest reading of all.

    Columns `subject_token`, `window` (effective milliseconds // window_ms), `rates`, `rate_sum`, `rate_squares`,
    `pressures`, `pressure_sum`: numbers and sums of whole tenths, halves up.
    """
    where = f"topic_id = $topic_id AND ({_between(starts)})"
    back = timedelta(milliseconds=2 * window_ms * windows)
    oldest = _oldest(analytics, "vitals", _EFFECTIVE, where, topic_id, back)
    return analytics.query(
        "WITH readings AS (SELECT subject_token, code, "
        f"(epoch_ms({_EFFECTIVE}) // $window_ms)::BIGINT AS window_nr, "
        "floor(numeric_value * 10 + 0.5)::BIGINT AS tenths "
        f"FROM vitals WHERE {where} AND code IN ($rate, $pressure) AND subject_token IS NOT NULL "
        "AND quality_flag IS NULL AND numeric_value IS NOT NULL AND event_time >= $oldest "
        f"AND {_EFFECTIVE} >= $oldest) "
        'SELECT subject_token, window_nr AS "window", count(*) FILTER (code = $rate)::BIGINT AS rates, '
        "coalesce(sum(tenths) FILTER (code = $rate), 0)::BIGINT AS rate_sum, "
        "coalesce(sum(tenths * tenths) FILTER (code = $rate), 0)::BIGINT AS rate_squares, "
        "count(*) FILTER (code = $pressure)::BIGINT AS pressures, "
        "coalesce(sum(tenths) FILTER (code = $pressure), 0)::BIGINT AS pressure_sum "
        "FROM readings GROUP BY subject_token, window_nr "
        "QUALIFY window_nr > max(window_nr) OVER (PARTITION BY subject_token) - $windows",
        parameters={
            "topic_id": topic_id, "oldest": oldest, "window_ms": window_ms, "rate": rate, "pressure": pressure,
            "windows": windows,
        },
    ).table  # fmt: skip


def _oldest(
    analytics: Analytics, table: str, time: str, where: str, topic_id: str, back: timedelta, **parameters: str
) -> object:
    """The moment `back` before the newest of the table; None where it has none."""
    newest = analytics.query(
        f"SELECT max({time}) AS newest FROM {table} WHERE {where}", parameters={"topic_id": topic_id, **parameters}
    ).table["newest"][0]
    return newest.as_py() - back if newest.is_valid else None
