-- Is every message of every partition accounted for?
-- grain: one row a stream, topic id and partition
-- units: first_offset and last_offset are positions; rows, rejects and duplicates count messages; unaccounted counts
--        offsets between first and last without any of the three (on topics written in transactions their markers take
--        offsets too; below 0: something is there twice); rows and unaccounted are null for a stream that a site added
--        (WARDSTREAM_CONTRACTS): its table is not asked here
-- asked by: data engineers, auditors of exactly-once
WITH place AS (
    SELECT 'device.vitals' AS stream, topic_id, kafka_partition, kafka_offset, 'row' AS fate FROM vitals
    UNION ALL SELECT 'iot.patient', topic_id, kafka_partition, kafka_offset, 'row' FROM wearables
    UNION ALL SELECT 'lab.results', topic_id, kafka_partition, kafka_offset, 'row' FROM labs
    UNION ALL SELECT 'adt.events', topic_id, kafka_partition, kafka_offset, 'row' FROM adt_events
    UNION ALL SELECT 'medication.events', topic_id, kafka_partition, kafka_offset, 'row' FROM medication_events
    UNION ALL SELECT 'clinical.alerts', topic_id, kafka_partition, kafka_offset, 'row' FROM alerts
    UNION ALL SELECT 'clinical.alerts.withheld', topic_id, kafka_partition, kafka_offset, 'row' FROM alerts_withheld
    UNION ALL SELECT 'lineage.events', topic_id, kafka_partition, kafka_offset, 'row' FROM lineage_events
    UNION ALL SELECT 'patient.consent.updates', topic_id, kafka_partition, kafka_offset, 'row' FROM consent_updates
    UNION ALL SELECT 'patient.data.deletions', topic_id, kafka_partition, kafka_offset, 'row' FROM data_deletions
    UNION ALL SELECT 'clinical.scores', topic_id, kafka_partition, kafka_offset, 'row' FROM scores
    UNION ALL SELECT 'alert.feedback', topic_id, kafka_partition, kafka_offset, 'row' FROM alert_feedback
    UNION ALL SELECT stream, topic_id, kafka_partition, kafka_offset, 'reject' FROM rejects
    UNION ALL SELECT stream, topic_id, kafka_partition, kafka_offset, 'duplicate' FROM duplicates
), known AS (
    SELECT *, stream IN (
        'device.vitals', 'iot.patient', 'lab.results', 'adt.events', 'medication.events',
        'clinical.alerts', 'clinical.alerts.withheld', 'lineage.events', 'patient.consent.updates',
        'patient.data.deletions', 'clinical.scores', 'alert.feedback') AS asked
    FROM place
)
SELECT stream, topic_id, kafka_partition,
       min(kafka_offset) AS first_offset,
       max(kafka_offset) AS last_offset,
       CASE WHEN asked THEN count(*) FILTER (fate = 'row') END AS "rows",
       count(*) FILTER (fate = 'reject') AS rejects,
       count(*) FILTER (fate = 'duplicate') AS duplicates,
       CASE WHEN asked THEN max(kafka_offset) - min(kafka_offset) + 1 - count(*) END AS unaccounted
FROM known
GROUP BY stream, topic_id, kafka_partition, asked
ORDER BY stream, topic_id, kafka_partition
