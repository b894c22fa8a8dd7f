"""Tables derived from released rows.

Holds: one query a roll-up, over the rows of a day that a quality gate has released.
Does not hold: whether a day is released (`release.py`), nor when a roll-up runs (`assets`).
"""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa

from warehouse.days import Head, day_bounds
from warehouse.offsets import Vector
from warehouse.release import positions

# A reading without a patient is left out: several devices' readings would melt into one nobody. The position breaks
# ties of event time, so that `first` and `last` do not depend on the order in which files are read.
VITALS_BY_MINUTE = """
WITH reading AS (
    SELECT subject_token, ward, code, unit, numeric_value,
           make_timestamptz(epoch_us(event_time) // 60000000 * 60000000) AS minute,
           {'at': event_time, 'partition': kafka_partition, 'position': kafka_offset} AS instant
    FROM iceberg_scan($metadata)
    JOIN released USING (topic_id, kafka_partition)
    WHERE event_time >= $first AND event_time < $end AND kafka_offset < next_offset
      AND quality_flag IS NULL AND numeric_value IS NOT NULL AND subject_token IS NOT NULL
)
SELECT subject_token, ward, code, unit, minute,
       count(*) AS samples,
       avg(numeric_value) AS mean,
       min(numeric_value) AS minimum,
       max(numeric_value) AS maximum,
       arg_min(numeric_value, instant) AS first,
       arg_max(numeric_value, instant) AS last
FROM reading
GROUP BY ALL
ORDER BY subject_token, code, minute, ward, unit
"""


def vitals_by_minute(connection: duckdb.DuckDBPyConnection, head: Head, day: date, vector: Vector) -> pa.Table:
    """Unflagged numbers of one day below `vector`, by patient, ward, code, unit and minute (UTC).

    The vector is a release's: `head` may be younger, what came since waits for the next verdict.
    """
    first, end = day_bounds(day)
    connection.register("released", positions(vector))
    bound = {"metadata": head.metadata_location, "first": first, "end": end}
    return connection.execute(VITALS_BY_MINUTE, bound).to_arrow_table()
