-- How fresh is every table of this product's own streams, and how long do messages take to reach it?
-- grain: one row a table with at least one row; tables of streams that a site added are not asked
-- units: rows is a count; behind_s in seconds from the newest append to now, or to --as-of; delays in seconds from the
--        broker's append to the row; UTC
-- asked by: data engineers on call
WITH arrived AS (
    SELECT 'vitals' AS table_name, kafka_time, ingest_time FROM vitals
    UNION ALL SELECT 'wearables', kafka_time, ingest_time FROM wearables
    UNION ALL SELECT 'labs', kafka_time, ingest_time FROM labs
    UNION ALL SELECT 'adt_events', kafka_time, ingest_time FROM adt_events
    UNION ALL SELECT 'medication_events', kafka_time, ingest_time FROM medication_events
    UNION ALL SELECT 'alerts', kafka_time, ingest_time FROM alerts
    UNION ALL SELECT 'alerts_withheld', kafka_time, ingest_time FROM alerts_withheld
    UNION ALL SELECT 'lineage_events', kafka_time, ingest_time FROM lineage_events
    UNION ALL SELECT 'consent_updates', kafka_time, ingest_time FROM consent_updates
    UNION ALL SELECT 'data_deletions', kafka_time, ingest_time FROM data_deletions
    UNION ALL SELECT 'scores', kafka_time, ingest_time FROM scores
    UNION ALL SELECT 'alert_feedback', kafka_time, ingest_time FROM alert_feedback
    UNION ALL SELECT 'rejects', kafka_time, ingest_time FROM rejects
    UNION ALL SELECT 'duplicates', kafka_time, ingest_time FROM duplicates
)
SELECT table_name,
       count(*) AS "rows",
       max(kafka_time) AS newest_append,
       epoch($asked_at::TIMESTAMPTZ - max(kafka_time)) AS behind_s,
       round(approx_quantile((epoch_us(ingest_time) - epoch_us(kafka_time)) / 1e6, 0.5), 3) AS p50_delay_s,
       round(approx_quantile((epoch_us(ingest_time) - epoch_us(kafka_time)) / 1e6, 0.99), 3) AS p99_delay_s
FROM arrived
GROUP BY table_name
ORDER BY behind_s DESC, table_name
