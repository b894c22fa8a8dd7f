-- When was a patient's saturation below 90 %, how long and how deep?
-- grain: one row an episode: readings below 90 % one after the other, no more than five minutes apart
-- units: lowest in %; lasted_s in seconds from the first to the last such reading; readings is a count; UTC
-- asked by: respiratory care, analysts of hypoxia
WITH saturation AS (
    SELECT subject_token, ward, event_time, kafka_offset, numeric_value AS spo2,
           lag(numeric_value) OVER following AS before,
           (epoch_us(event_time) - lag(epoch_us(event_time)) OVER following) / 1e6 AS gap_s
    FROM vitals
    WHERE code = '59408-5' AND subject_token IS NOT NULL AND quality_flag IS NULL
    WINDOW following AS (PARTITION BY subject_token ORDER BY event_time, kafka_offset)
), numbered AS (
    SELECT *, count(*) FILTER (before IS NULL OR before >= 90 OR gap_s > 300)
              OVER (PARTITION BY subject_token ORDER BY event_time, kafka_offset ROWS UNBOUNDED PRECEDING) AS episode
    FROM saturation WHERE spo2 < 90
)
SELECT subject_token, any_value(ward) AS ward,
       min(event_time) AS began_at,
       epoch(max(event_time) - min(event_time)) AS lasted_s,
       count(*) AS readings,
       min(spo2) AS lowest
FROM numbered
GROUP BY subject_token, episode
ORDER BY lasted_s DESC, subject_token, began_at
