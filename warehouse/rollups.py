"""Tables derived from released rows: one query a table.

Holds: the sources of a day as views of a session, restricted to what was released, and the queries over them.
Does not hold: whether a day is released (`release.py`), what no query can say (`pipelines/clinical`), nor when
anything runs (`assets`).

A query reads its sources by their tables' names, and `the_day` for the day's bounds (`first`, `past`) and `year`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import pyarrow as pa

from warehouse.consent.filters import REGISTRY_TABLE, decisions_sql
from warehouse.contract import TableContract
from warehouse.days import Head, day_bounds
from warehouse.lake_session import quoted
from warehouse.offsets import Vector
from warehouse.release import positions
from warehouse.tables import arrow_schema
from warehouse.views import current_versions

# Whole hours and minutes by arithmetic: DuckDB's date_trunc of a timestamptz needs an extension that is not there.
# Sums are compensated (favg) and deviations rounded, so that the order of files leaves the same bits; a mean lies
# between least and greatest but for rounding, so it is put there.

# A reading without a patient is left out: several devices' readings would melt into one nobody. The position breaks
# ties of event time, so that `first` and `last` do not depend on the order in which files are read.
VITALS_BY_MINUTE = """
WITH reading AS (
    SELECT subject_token, ward, code, unit, numeric_value,
           make_timestamptz(epoch_us(event_time) // 60000000 * 60000000) AS minute,
           {'at': event_time, 'partition': kafka_partition, 'position': kafka_offset} AS instant
    FROM vitals
    WHERE quality_flag IS NULL AND numeric_value IS NOT NULL AND subject_token IS NOT NULL
)
SELECT subject_token, ward, code, unit, minute,
       count(*) AS samples,
       least(greatest(favg(numeric_value), min(numeric_value)), max(numeric_value)) AS mean,
       min(numeric_value) AS minimum,
       max(numeric_value) AS maximum,
       arg_min(numeric_value, instant) AS first,
       arg_max(numeric_value, instant) AS last
FROM reading
GROUP BY ALL
ORDER BY subject_token, code, minute, ward, unit
"""

VITALS_BY_HOUR = """
WITH reading AS (
    SELECT subject_token, ward, code, unit, numeric_value, epoch_us(event_time) // 60000000 AS minute,
           make_timestamptz(epoch_us(event_time) // 3600000000 * 3600000000) AS hour
    FROM vitals
    WHERE quality_flag IS NULL AND numeric_value IS NOT NULL AND subject_token IS NOT NULL
)
SELECT subject_token, ward, code, unit, hour,
       count(*) AS samples,
       count(DISTINCT minute) AS minutes,
       least(greatest(favg(numeric_value), min(numeric_value)), max(numeric_value)) AS mean,
       median(numeric_value) AS median,
       min(numeric_value) AS minimum,
       max(numeric_value) AS maximum,
       round(stddev_pop(numeric_value), 9) AS deviation
FROM reading
GROUP BY ALL
ORDER BY subject_token, code, hour, ward, unit
"""

WARD_SUMMARY = """
WITH seen AS (
    SELECT ward, epoch_us(event_time) // 3600000000 AS hour, subject_token, device_id, quality_flag,
           true AS is_reading, NULL::INTEGER AS level
    FROM vitals WHERE ward IS NOT NULL
    UNION ALL
    SELECT ward, epoch_us(episode_start) // 3600000000, subject_token, NULL, NULL, false, level
    FROM alerts WHERE ward IS NOT NULL
)
SELECT ward, make_timestamptz(hour * 3600000000) AS hour,
       count(DISTINCT subject_token) AS patients,
       count(DISTINCT device_id) AS devices,
       count(*) FILTER (is_reading) AS readings,
       count(quality_flag) AS flagged,
       count(*) FILTER (is_reading AND subject_token IS NULL) AS without_patient,
       count(level) AS alerts,
       count(*) FILTER (level = 3) AS alerts_highest
FROM seen
GROUP BY seen.ward, seen.hour
ORDER BY ward, hour
"""

# A clock's offset is told from the least lag: the network only ever adds to it. One lag in twenty is left out, so that
# a single wrong stamp does not decide. Ahead from 2 s on (clinical.md); behind from where no network is so slow. What
# came in through a gateway is measured by when the gateway had it: history that is sent again is no wrong clock.
DEVICE_HEALTH = """
WITH reading AS (
    SELECT 'vitals' AS table_name, device_id, ward, code, subject_token, quality_flag, event_time,
           (epoch_us(coalesce(received_at, kafka_time)) - epoch_us(event_time)) / 1e6 AS lag_s
    FROM vitals
    UNION ALL
    SELECT 'wearables', device_id, ward, code, subject_token, quality_flag, event_time,
           (epoch_us(coalesce(received_at, kafka_time)) - epoch_us(event_time)) / 1e6
    FROM wearables
), gap AS (
    SELECT table_name, device_id, gap_s, median(gap_s) OVER (PARTITION BY table_name, device_id) AS usual_s
    FROM (
        SELECT table_name, device_id, (instant - lag(instant) OVER device) / 1e6 AS gap_s
        FROM (SELECT DISTINCT table_name, device_id, epoch_us(event_time) AS instant FROM reading)
        WINDOW device AS (PARTITION BY table_name, device_id ORDER BY instant)
    )
    WHERE gap_s IS NOT NULL
), silence AS (
    SELECT table_name, device_id, max(gap_s) AS longest_gap_s,
           count(*) FILTER (gap_s > greatest(60, 10 * usual_s)) AS gaps
    FROM gap GROUP BY ALL
), device AS (
    SELECT table_name, device_id,
           max_by(ward, (event_time, ward)) FILTER (ward IS NOT NULL) AS ward,
           count(*) AS readings,
           count(quality_flag) AS flagged,
           count(*) FILTER (subject_token IS NULL) AS without_patient,
           count(DISTINCT code) AS codes,
           median(lag_s) AS median_lag_s,
           quantile_disc(lag_s, 0.05) AS least_lag_s,
           min(event_time) AS first_at,
           max(event_time) AS last_at
    FROM reading WHERE device_id IS NOT NULL
    GROUP BY ALL
), clock AS (
    SELECT table_name, device_id,
           CASE WHEN least_lag_s <= -2 THEN 'ahead'
                WHEN least_lag_s >= CASE table_name WHEN 'vitals' THEN 60 ELSE 3600 END THEN 'behind' END AS clock_flag
    FROM device
)
SELECT device_id, table_name, the_day.first AS day, ward, readings, flagged, without_patient, codes,
       median_lag_s, least_lag_s,
       CASE WHEN least_lag_s < 0 OR clock_flag IS NOT NULL THEN -least_lag_s END AS clock_offset_s,
       clock_flag,
       coalesce(gaps, 0) AS gaps, longest_gap_s, first_at, last_at
FROM device JOIN clock USING (table_name, device_id) LEFT JOIN silence USING (table_name, device_id) CROSS JOIN the_day
ORDER BY table_name, device_id
"""

# A person is one row however many stays they have: of sex and year of birth what a stay said last. A year that nobody
# alive was born in is a placeholder.
POPULATION_BY_DAY = """
WITH open AS (
    SELECT subject_token, sex, {'at': last_event_at, 'stay': stay_id} AS told,
           CASE WHEN birth_year BETWEEN 1850 AND the_day.year THEN the_day.year - birth_year END AS age,
           admitted_at >= the_day.first AS admitted_today,
           discharged_at < the_day.past AS discharged_today
    FROM stays CROSS JOIN the_day
    WHERE state IN ('admitted', 'discharged') AND coalesce(admitted_at, opened_at) < the_day.past
      AND (discharged_at IS NULL OR discharged_at >= the_day.first)
), told AS (
    SELECT subject_token, count(*) AS stays,
           count(*) FILTER (admitted_today) AS admissions, count(*) FILTER (discharged_today) AS discharges,
           coalesce(max_by(sex, told) FILTER (sex IS NOT NULL), 'U') AS known_sex,
           max_by(age, told) FILTER (age IS NOT NULL) AS age
    FROM open GROUP BY ALL
), person AS (
    SELECT *, CASE WHEN age IS NULL THEN 'unknown' WHEN age >= 90 THEN '90+'
                   ELSE concat(age // 10 * 10, '-', age // 10 * 10 + 9) END AS age_band
    FROM told
), monitored AS (SELECT DISTINCT subject_token, true AS seen FROM vitals WHERE subject_token IS NOT NULL
), alerted AS (SELECT subject_token, count(*) AS alerts FROM alerts GROUP BY ALL
)
SELECT the_day.first AS day, age_band, known_sex AS sex,
       count(*) AS patients,
       sum(stays)::BIGINT AS stays,
       sum(admissions)::BIGINT AS admissions,
       sum(discharges)::BIGINT AS discharges,
       count(seen) AS monitored,
       count(alerts) AS alerted,
       coalesce(sum(alerts), 0)::BIGINT AS alerts
FROM person LEFT JOIN monitored USING (subject_token) LEFT JOIN alerted USING (subject_token) CROSS JOIN the_day
GROUP BY ALL
ORDER BY age_band, sex
"""

# Of what was taken back no number stays, here as in `labs_current`.
LAB_RESULTS = """
WITH told AS (
    SELECT subject_token, order_id, code, count(*)::INTEGER AS versions,
           min(reported_at) AS first_reported_at,
           min(reported_at) FILTER (status = 'F') AS released_at,
           arg_min(numeric_value, (reported_at, numeric_value)) FILTER (status = 'F') AS released_value
    FROM labs GROUP BY ALL
)
SELECT subject_token, order_id, code, collected_at, lab, status, numeric_value, comparator, unit, quality_flag,
       reported_at, versions, first_reported_at, released_at,
       CASE WHEN status <> 'X' THEN released_value END AS released_value
FROM labs_current JOIN told USING (subject_token, order_id, code)
ORDER BY subject_token, code, collected_at, order_id
"""

# `consented` is what `open_consent` makes of the registry: a person's stretches do not overlap, so no reading is
# counted twice.
RESEARCH_COHORT = """
SELECT subject_token, the_day.first AS day,
       count(*) AS readings,
       count(DISTINCT epoch_us(event_time) // 3600000000) AS hours,
       count(DISTINCT code) AS codes,
       min(event_time) AS first_at,
       max(event_time) AS last_at,
       min(consented.first_at) AS consented_at,
       the_registry.asked_at
FROM vitals JOIN consented USING (subject_token) CROSS JOIN the_day CROSS JOIN the_registry
WHERE event_time >= consented.first_at AND event_time < consented.past_at
GROUP BY subject_token, the_day.first, the_registry.asked_at
ORDER BY subject_token
"""

QUERIES = {
    "vitals_by_minute": VITALS_BY_MINUTE,
    "vitals_by_hour": VITALS_BY_HOUR,
    "ward_summary": WARD_SUMMARY,
    "device_health": DEVICE_HEALTH,
    "population_by_day": POPULATION_BY_DAY,
}

READINGS = """
SELECT topic_id, kafka_partition, kafka_offset, event_time, subject_token, device_id, code, numeric_value, quality_flag,
       samples, period_ms
FROM $table ORDER BY device_id, code, subject_token, event_time, topic_id, kafka_partition, kafka_offset
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A table as one day's work reads it.

    Attributes:
        head: None for a table that has no snapshot yet: then it has no rows.
        released: only rows of the day below this vector are read; None for a table that is itself derived: then all of
            its rows are.
    """

    table: TableContract
    head: Head | None
    released: Vector | None


def open_day(connection: duckdb.DuckDBPyConnection, day: date, sources: tuple[Source, ...]) -> None:
    """Make `the_day` and a view of each source in the session, in place of those of the day before.

    A release's vector decides, not the head: what came since waits for the next verdict.
    """
    first, past = day_bounds(day)
    bounds = pa.table({"first": [first], "past": [past], "year": [day.year]})
    connection.register("the_day", bounds.set_column(0, "first", bounds["first"].cast(pa.timestamp("us", "UTC"))))
    for source in sources:
        name = source.table.name
        connection.execute(f'DROP VIEW IF EXISTS "{name}"')
        if source.head is None:
            connection.register(name, arrow_schema(source.table).empty_table())
        elif source.released is None:
            connection.execute(f'CREATE VIEW "{name}" AS SELECT * FROM {_scan(source.head)}')
        else:
            connection.register(f"released_{name}", positions(source.released))
            connection.execute(f'CREATE VIEW "{name}" AS {_released_day(source, day)}')


def _released_day(source: Source, day: date) -> str:
    assert source.head is not None
    assert source.table.partitioning is not None
    column = source.table.partitioning.column
    first, past = (quoted(bound.isoformat()) for bound in day_bounds(day))
    return (
        f'SELECT source.* FROM {_scan(source.head)} AS source JOIN "released_{source.table.name}" AS released '
        f"USING (topic_id, kafka_partition) WHERE kafka_offset < next_offset "
        f'AND "{column}" >= TIMESTAMPTZ {first} AND "{column}" < TIMESTAMPTZ {past}'
    )


def _scan(head: Head) -> str:
    return f"iceberg_scan({quoted(head.metadata_location)})"


TOLD = """
SELECT subject_token, hour_start, arg_max(model_version, scored_at) AS model_version,
       arg_max(score, scored_at) AS score, arg_max(risk, scored_at) AS risk,
       arg_max(is_alerting, scored_at) AS is_alerting
FROM scores WHERE subject_token IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


def told_scores(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Of each patient and hour of the open day the score that was made last."""
    return connection.execute(TOLD).to_arrow_table()


def open_consent(
    connection: duckdb.DuckDBPyConnection, category: str, stream: str, streams: Collection[str], now: datetime
) -> None:
    """Make `consented` in the session of an open day, from its view of the registry: the stretches of time that people
    who consent now have consented to; and `the_registry`, which says that it was asked `now` (with a zone)."""
    select = decisions_sql(REGISTRY_TABLE, category, stream, streams, now)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE consented AS {select}")
    asked = pa.table({"asked_at": pa.array([now], pa.timestamp("us", "UTC"))})
    connection.register("the_registry", asked)


def research_cohort(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """The rows of `research_cohort` on the open day, after `open_consent`."""
    return connection.execute(RESEARCH_COHORT).to_arrow_table()


def rolled_up(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    """The rows of a derived table on the day that `open_day` opened."""
    return connection.execute(QUERIES[table]).to_arrow_table()


def lab_results(connection: duckdb.DuckDBPyConnection, labs: TableContract, versions: pa.Table) -> pa.Table:
    """The results that all versions of some results come to."""
    assert labs.versions is not None, "results are corrected"
    connection.register(labs.name, versions)
    current = current_versions(labs, labs.versions)
    connection.execute(f'CREATE OR REPLACE TEMP VIEW "{current.name}" AS {current.select}')
    return connection.execute(LAB_RESULTS).to_arrow_table()


def day_readings(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    """The readings of `vitals` or `wearables` on the open day, by device, code and patient, in order of event time."""
    return connection.execute(READINGS.replace("$table", table)).to_arrow_table()
