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

import pyarrow as pa

from warehouse.analytics import Analytics


def identities_below(
    analytics: Analytics, table: str, key: str, topic_id: str, starts: Mapping[int, int], most: int
) -> pa.Table:
    """The last `most` events of a table below `starts`: event_id, kafka_partition, kafka_offset, kafka_time, in order.

    Bounded by offsets, of which the data files keep ranges: files that hold older positions only are not opened.
    """
    each = max(1, most // max(1, len(starts)))
    where = _between(starts, {p: max(0, offset - each) for p, offset in starts.items()})
    return analytics.query(
        f"SELECT {key} AS event_id, kafka_partition, kafka_offset, kafka_time FROM {table} "
        f"WHERE topic_id = $topic_id AND ({where}) ORDER BY kafka_partition, kafka_offset",
        parameters={"topic_id": topic_id},
    ).table


def readings_below(
    analytics: Analytics,
    topic_id: str,
    starts: Mapping[int, int],
    codes: Sequence[str],
    alerted: Sequence[str],
    lookback: timedelta,
    silence: timedelta,
) -> pa.Table:
    """What the rules must remember of each patient: unflagged readings of `codes` below `starts`, each partition's in
    order of position.

    Of the patients in `alerted` (subject tokens) all readings from `lookback` before their newest one; of the others
    the newest of each code; new and old by effective time. Patients whose newest reading is more than `silence` older
    than the newest of all are left out: a rule that meets such a patient again starts anew. One partition is asked for
    at a time, by aggregates and joins: windows over all of it would not fit the session's memory.
    """
    newest = analytics.query(
        f"SELECT max({_EFFECTIVE}) AS newest FROM vitals WHERE topic_id = $topic_id AND ({_between(starts)})",
        parameters={"topic_id": topic_id},
    ).table["newest"][0]
    oldest = newest.as_py() - silence - lookback if newest.is_valid else None
    given = {"topic_id": topic_id, "codes": list(codes), "oldest": oldest}
    parts = [
        analytics.query(sql.format(where=_READINGS.format(place=_between({partition: start}))), parameters=parameters)
        for partition, start in starts.items()
        for sql, parameters in (
            (_NEWEST_OF_EACH_CODE, given),
            (_ALL_OF_THE_ALERTED, {**given, "alerted": list(alerted), "lookback": lookback.total_seconds()}),
        )
    ]
    rows = pa.concat_tables([part.table for part in parts]) if parts else pa.table({})
    by_position = rows.group_by(["kafka_partition", "kafka_offset"], use_threads=False)
    first = by_position.aggregate([(name, "first") for name in rows.column_names if name not in _POSITION])
    plain = first.rename_columns([name.removesuffix("_first") for name in first.column_names])
    return plain.sort_by([(name, "ascending") for name in _POSITION])


_POSITION = ("kafka_partition", "kafka_offset")
_EFFECTIVE = "least(event_time, kafka_time)"
_COLUMNS = (
    "v.subject_token, v.ward, v.code, v.numeric_value, v.text_value, v.quality_flag, v.event_time, v.received_at, "
    "v.kafka_partition, v.kafka_offset, v.kafka_time"
)
_READINGS = (
    "topic_id = $topic_id AND {place} AND quality_flag IS NULL AND subject_token IS NOT NULL "
    # The first of the two says nothing more, but days and files are known by event time: the others are not opened.
    f"AND list_contains($codes, code) AND event_time >= $oldest AND {_EFFECTIVE} >= $oldest"
)
# Rules compare times by the millisecond; of those that are equal the last position counts, so all of them are taken.
_NEWEST_OF_EACH_CODE = f"""
WITH readings AS (SELECT *, date_trunc('millisecond', {_EFFECTIVE}) AS effective FROM vitals WHERE {{where}}),
     newest AS (SELECT subject_token, code, max(effective) AS at FROM readings GROUP BY ALL)
SELECT {_COLUMNS} FROM readings v JOIN newest n
    ON v.subject_token = n.subject_token AND v.code = n.code AND v.effective = n.at
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


def alert_ids_from(analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int]) -> list[str]:
    """Ids of the alerts whose triggering reading lies at or above `starts`: they will be decided again."""
    partitions = ", ".join(str(int(partition)) for partition in starts) or "NULL"
    answer = analytics.query(
        f"SELECT alert_id FROM {table} WHERE source_topic_id = $topic_id AND source_partition IN ({partitions}) "
        f"AND NOT ({_between(starts, prefix='source')})",
        parameters={"topic_id": topic_id},
    )
    return answer.table["alert_id"].to_pylist()


def _between(ends: Mapping[int, int], starts: Mapping[int, int] | None = None, prefix: str = "kafka") -> str:
    """An SQL condition on positions; numbers only, so nothing can be smuggled in."""
    parts = [
        f"({prefix}_partition = {int(p)} AND {prefix}_offset < {int(end)}"
        + (f" AND {prefix}_offset >= {int(starts[p])}" if starts else "")
        + ")"
        for p, end in sorted(ends.items())
    ]
    return " OR ".join(parts) or "false"
