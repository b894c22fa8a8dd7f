-- Which sensors misbehave, and how?
-- grain: one row a table, device, code and fault
-- units: faulty and patients are counts; times are the devices' own, UTC
-- asked by: biomedical engineering, analysts who must know what to leave out
WITH checked AS (
    SELECT 'vitals' AS table_name, device_id, ward, code, subject_token, event_time, sensor_fault FROM vitals_checked
    UNION ALL
    SELECT 'wearables', device_id, ward, code, subject_token, event_time, sensor_fault FROM wearables_checked
)
SELECT table_name, device_id, max_by(ward, event_time) AS ward, name, code, sensor_fault,
       count(*) AS faulty,
       count(DISTINCT subject_token) AS patients,
       min(event_time) AS first_at,
       max(event_time) AS last_at
FROM checked LEFT JOIN codes USING (code)
WHERE sensor_fault IS NOT NULL
GROUP BY table_name, device_id, name, code, sensor_fault
ORDER BY faulty DESC, device_id, code, sensor_fault
