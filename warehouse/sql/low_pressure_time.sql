-- How long did each patient's mean arterial pressure lie below 65 mm[Hg]?
-- grain: one row a patient with at least one pressure that counts
-- units: pressures in mm[Hg]; times in minutes; a reading holds until the next, five minutes at most;
--        the last one does not count
-- asked by: critical care analysts, quality of care
WITH pressure AS (
    SELECT subject_token, numeric_value AS map,
           (lead(epoch_us(event_time)) OVER (PARTITION BY subject_token ORDER BY event_time)
            - epoch_us(event_time)) / 60e6 AS until_next
    FROM vitals
    WHERE code = '8478-0' AND subject_token IS NOT NULL AND quality_flag IS NULL
), held AS (
    SELECT *, CASE WHEN until_next > 5 THEN 5 ELSE until_next END AS minutes FROM pressure
)
SELECT subject_token,
       count(*) AS readings,
       round(coalesce(sum(minutes), 0), 2) AS observed_min,
       round(coalesce(sum(minutes) FILTER (map < 65), 0), 2) AS below_65_min,
       round(coalesce(sum(minutes) FILTER (map < 55), 0), 2) AS below_55_min,
       min(map) AS lowest
FROM held
GROUP BY subject_token
ORDER BY below_65_min DESC, subject_token
