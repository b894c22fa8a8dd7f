-- How many alerts must a ward bear, hour by hour?
-- grain: one row an hour of append and ward with at least one alert
-- units: alerts, grave, late and patients are counts, messages that take an alert back not among them; grave: level 2 and
--        above; per_patient is alerts a patient; UTC
-- asked by: the alarm committee, nursing leads
SELECT date_trunc('hour', kafka_time) AS hour, ward,
       count(*) AS alerts,
       count(*) FILTER (level >= 2) AS grave,
       count(*) FILTER (late) AS late,
       count(DISTINCT subject_token) AS patients,
       round(count(*) / count(DISTINCT subject_token), 2) AS per_patient
FROM alerts
WHERE retracts IS NULL
GROUP BY ALL
ORDER BY hour, ward
