-- Who gains weight fast?
-- grain: one row a patient with two weights at least within seven days before the newest
-- units: weights in kg; gain_kg from the lightest of those seven days to the newest; over_days between these two; UTC
-- asked by: heart failure clinic
WITH weight AS (
    SELECT subject_token, event_time, numeric_value AS kg,
           max(event_time) OVER (PARTITION BY subject_token) AS newest_at
    FROM wearables
    WHERE code = '29463-7' AND subject_token IS NOT NULL AND quality_flag IS NULL
)
SELECT subject_token,
       count(*) AS weights,
       max_by(kg, event_time) AS newest_kg,
       min(kg) AS lightest_kg,
       max_by(kg, event_time) - min(kg) AS gain_kg,
       epoch(max(newest_at) - min_by(event_time, kg)) / 86400 AS over_days,
       max(newest_at) AS newest_at
FROM weight
WHERE event_time >= newest_at - INTERVAL 7 DAY
GROUP BY subject_token
HAVING count(*) > 1
ORDER BY gain_kg DESC, subject_token
