-- Which devices changed patients, and how quickly?
-- grain: one row a table, device and day on which it came to another patient, from one of that day or of an earlier
--        one
-- units: patients (of the day) and changes are counts; quickest_s in seconds between one patient's last reading and the first of
--        the next one (a few: the association was wrong, or corrected late); day in UTC
-- asked by: biomedical engineering, clinical informaticians
WITH reading AS (
    SELECT 'vitals' AS table_name, device_id, ward, subject_token, event_time FROM vitals
    UNION ALL
    SELECT 'wearables', device_id, ward, subject_token, event_time FROM wearables
), beside AS (
    SELECT *, date_trunc('day', event_time) AS day,
           lag(subject_token) OVER following AS before,
           (epoch_us(event_time) - lag(epoch_us(event_time)) OVER following) / 1e6 AS gap_s
    FROM reading
    WHERE device_id IS NOT NULL AND subject_token IS NOT NULL
    WINDOW following AS (PARTITION BY table_name, device_id ORDER BY event_time)
)
SELECT table_name, device_id, day,
       max_by(ward, event_time) AS ward,
       count(DISTINCT subject_token) AS patients,
       count(*) FILTER (before <> subject_token) AS changes,
       min(gap_s) FILTER (before <> subject_token) AS quickest_s
FROM beside
GROUP BY table_name, device_id, day
HAVING count(*) FILTER (before <> subject_token) > 0
ORDER BY quickest_s, device_id, day
