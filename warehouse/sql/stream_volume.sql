-- How much does every stream bring, hour by hour, and how much of it is refused or repeated?
-- grain: one row an hour of append and stream
-- units: rows, refused and repeated are counts of messages; refused_percent of all three; UTC; rows and
--        refused_percent are null for a stream that a site added (WARDSTREAM_CONTRACTS): its table is not asked here
-- asked by: data engineers, stream owners
WITH brought AS (
    SELECT 'device.vitals' AS stream, kafka_time, 'row' AS fate FROM vitals
    UNION ALL SELECT 'iot.patient', kafka_time, 'row' FROM wearables
    UNION ALL SELECT 'lab.results', kafka_time, 'row' FROM labs
    UNION ALL SELECT 'adt.events', kafka_time, 'row' FROM adt_events
    UNION ALL SELECT 'medication.events', kafka_time, 'row' FROM medication_events
    UNION ALL SELECT 'clinical.alerts', kafka_time, 'row' FROM alerts
    UNION ALL SELECT 'clinical.alerts.withheld', kafka_time, 'row' FROM alerts_withheld
    UNION ALL SELECT 'lineage.events', kafka_time, 'row' FROM lineage_events
    UNION ALL SELECT 'patient.consent.updates', kafka_time, 'row' FROM consent_updates
    UNION ALL SELECT 'patient.data.deletions', kafka_time, 'row' FROM data_deletions
    UNION ALL SELECT 'clinical.scores', kafka_time, 'row' FROM scores
    UNION ALL SELECT 'alert.feedback', kafka_time, 'row' FROM alert_feedback
    UNION ALL SELECT stream, kafka_time, 'refused' FROM rejects
    UNION ALL SELECT stream, kafka_time, 'repeated' FROM duplicates
), known AS (
    SELECT *, stream IN (
        'device.vitals', 'iot.patient', 'lab.results', 'adt.events', 'medication.events',
        'clinical.alerts', 'clinical.alerts.withheld', 'lineage.events', 'patient.consent.updates',
        'patient.data.deletions', 'clinical.scores', 'alert.feedback') AS asked
    FROM brought
)
SELECT time_bucket(INTERVAL 1 HOUR, kafka_time) AS hour, stream,
       CASE WHEN asked THEN count(*) FILTER (fate = 'row') END AS "rows",
       count(*) FILTER (fate = 'refused') AS refused,
       count(*) FILTER (fate = 'repeated') AS repeated,
       CASE WHEN asked THEN round(100.0 * count(*) FILTER (fate = 'refused') / count(*), 2) END AS refused_percent
FROM known
GROUP BY hour, stream, asked
ORDER BY hour, stream
