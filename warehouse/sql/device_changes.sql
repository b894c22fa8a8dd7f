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
    -- What is carried through a window must fit into memory, row by row: who it is of as a number, no ward.
    SELECT table_name, device_id, date_trunc('day', event_time) AS day, who <> lag(who) OVER following AS changed,
           (epoch_us(event_time) - lag(epoch_us(event_time)) OVER following) / 1e6 AS gap_s
    FROM (SELECT table_name, device_id, event_time, hash(subject_token) AS who FROM reading
          WHERE device_id IS NOT NULL AND subject_token IS NOT NULL)
    WINDOW following AS (PARTITION BY table_name, device_id ORDER BY event_time)
), changes AS (
    SELECT table_name, device_id, day, count(*) AS changes, min(gap_s) AS quickest_s
    FROM beside
    WHERE changed
    GROUP BY ALL
)
SELECT table_name, device_id, day,
       max_by(ward, event_time) AS ward,
       count(DISTINCT subject_token) AS patients,
       any_value(changes) AS changes,
       any_value(quickest_s) AS quickest_s
FROM changes
JOIN (SELECT *, date_trunc('day', event_time) AS day FROM reading WHERE subject_token IS NOT NULL)
    USING (table_name, device_id, day)
GROUP BY table_name, device_id, day
ORDER BY quickest_s, device_id, day
