"""What the lake already knows and a starting stream must remember: identities, readings and alerts below a position.

Holds: the questions a restart asks of the tables, each bounded by positions or by event time.
Does not hold: the state that is rebuilt from the answers (pipelines), or any question a person asks (sql/).

Every answer is restricted to positions below `starts` (partition -> next offset) of one topic id: what lies at or
above is read from Kafka again, and must find the state as it was then.
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
    """What the rules must remember of each patient, by position: unflagged readings of `codes` below `starts`.

    Of the patients in `alerted` (subject tokens) all readings from `lookback` before their newest one; of the others
    the newest of each code. Patients whose newest reading is more than `silence` older than the newest of all are left
    out: a rule that meets such a patient again starts anew.
    """
    where = (
        f"topic_id = $topic_id AND ({_between(starts)}) AND quality_flag IS NULL AND subject_token IS NOT NULL "
        "AND list_contains($codes, code)"
    )
    given = {"topic_id": topic_id, "codes": list(codes)}
    newest = analytics.query(f"SELECT max(event_time) AS newest FROM vitals WHERE {where}", parameters=given).table[
        "newest"
    ][0]
    oldest = newest.as_py() - silence - lookback if newest.is_valid else None
    return analytics.query(
        f"SELECT subject_token, ward, code, numeric_value, text_value, quality_flag, event_time, received_at, "
        f"kafka_partition, kafka_offset, kafka_time FROM vitals WHERE {where} AND event_time >= $oldest "
        "QUALIFY row_number() OVER (PARTITION BY subject_token, code "
        "ORDER BY date_trunc('millisecond', event_time) DESC, kafka_offset DESC) = 1 "
        "OR (list_contains($alerted, subject_token) AND event_time >= "
        "max(event_time) OVER (PARTITION BY subject_token) - to_seconds($lookback)) "
        "ORDER BY kafka_partition, kafka_offset",
        parameters={
            **given,
            "oldest": oldest,
            "alerted": list(alerted),
            "lookback": lookback.total_seconds(),
        },
    ).table


def last_alerts_below(analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int]) -> pa.Table:
    """The alerts of the newest episode of each rule and subject whose readings lie below `starts`: all columns."""
    return analytics.query(
        f"SELECT * FROM {table} WHERE source_topic_id = $topic_id AND ({_between(starts, prefix='source')}) "
        "QUALIFY episode_start = max(episode_start) OVER (PARTITION BY rule, subject_token)",
        parameters={"topic_id": topic_id},
    ).table


def alert_ids_from(analytics: Analytics, table: str, topic_id: str, starts: Mapping[int, int]) -> list[str]:
    """Ids of the alerts whose triggering reading lies at or above `starts`: they will be decided again."""
    answer = analytics.query(
        f"SELECT alert_id FROM {table} WHERE source_topic_id = $topic_id AND NOT ({_between(starts, prefix='source')})",
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
