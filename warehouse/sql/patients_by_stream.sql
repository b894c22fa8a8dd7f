-- What do we know of whom?
-- grain: one row a patient of this product's own streams; streams that a site added are not asked
-- units: vitals, wearables, results, movements, drug_events and alerts are counts of rows; times of append in UTC
-- asked by: cohort builders, data engineers who look for a stream that does not carry its patients
WITH known AS (
    SELECT subject_token, kafka_time, 'vitals' AS kind FROM vitals
    UNION ALL SELECT subject_token, kafka_time, 'wearables' FROM wearables
    UNION ALL SELECT subject_token, kafka_time, 'results' FROM labs_current
    UNION ALL SELECT subject_token, kafka_time, 'movements' FROM adt_events
    UNION ALL SELECT subject_token, kafka_time, 'drug_events' FROM medication_events
    UNION ALL SELECT subject_token, kafka_time, 'alerts' FROM alerts
)
SELECT subject_token,
       count(*) FILTER (kind = 'vitals') AS vitals,
       count(*) FILTER (kind = 'wearables') AS wearables,
       count(*) FILTER (kind = 'results') AS results,
       count(*) FILTER (kind = 'movements') AS movements,
       count(*) FILTER (kind = 'drug_events') AS drug_events,
       count(*) FILTER (kind = 'alerts') AS alerts,
       count(DISTINCT kind) AS kinds,
       min(kafka_time) AS first_at,
       max(kafka_time) AS last_at
FROM known
WHERE subject_token IS NOT NULL
GROUP BY subject_token
ORDER BY kinds DESC, subject_token
