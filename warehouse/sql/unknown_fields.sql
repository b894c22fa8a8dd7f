-- Which senders say more than their contract knows?
-- grain: one row a stream and sender (ward or laboratory) with at least one such message; streams that a site added
--        are not asked
-- units: messages and with_more are counts; bytes are sizes of what is sealed, as kept; times of append in UTC
-- asked by: contract owners before a new version, integration engineers
WITH said AS (
    SELECT 'device.vitals' AS stream, ward AS sender, kafka_time, unknown_fields FROM vitals
    UNION ALL SELECT 'iot.patient', ward, kafka_time, unknown_fields FROM wearables
    UNION ALL SELECT 'lab.results', lab, kafka_time, unknown_fields FROM labs
    UNION ALL SELECT 'adt.events', ward, kafka_time, unknown_fields FROM adt_events
    UNION ALL SELECT 'medication.events', NULL, kafka_time, unknown_fields FROM medication_events
)
SELECT stream, sender,
       count(*) AS messages,
       count(unknown_fields) AS with_more,
       round(100.0 * count(unknown_fields) / count(*), 2) AS percent,
       sum(octet_length(unknown_fields))::BIGINT AS bytes,
       min(kafka_time) FILTER (unknown_fields IS NOT NULL) AS first_at,
       max(kafka_time) FILTER (unknown_fields IS NOT NULL) AS last_at
FROM said
GROUP BY stream, sender
HAVING count(unknown_fields) > 0
ORDER BY with_more DESC, stream, sender
