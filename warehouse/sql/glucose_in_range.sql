-- How long is each patient's glucose in range?
-- grain: one row a patient with a glucose sensor
-- units: mean in mg/dL; shares in percent of readings; cv in percent; gmi (glucose management indicator) in percent;
--        worn in percent of one reading every five minutes between first and last
-- asked by: diabetes clinic (international consensus on time in range, 2019)
SELECT subject_token,
       count(*) AS readings,
       round(100.0 * count(*) / (1 + epoch(max(event_time) - min(event_time)) / 300), 1) AS worn,
       round(avg(numeric_value), 1) AS mean,
       round(100 * stddev_samp(numeric_value) / avg(numeric_value), 1) AS cv,
       round(3.31 + 0.02392 * avg(numeric_value), 2) AS gmi,
       round(100.0 * count(*) FILTER (numeric_value < 54) / count(*), 1) AS below_54,
       round(100.0 * count(*) FILTER (numeric_value < 70) / count(*), 1) AS below_70,
       round(100.0 * count(*) FILTER (numeric_value BETWEEN 70 AND 180) / count(*), 1) AS in_range,
       round(100.0 * count(*) FILTER (numeric_value > 180) / count(*), 1) AS above_180,
       round(100.0 * count(*) FILTER (numeric_value > 250) / count(*), 1) AS above_250
FROM wearables
WHERE code = '99504-3' AND subject_token IS NOT NULL AND quality_flag IS NULL
GROUP BY subject_token
ORDER BY in_range, subject_token
