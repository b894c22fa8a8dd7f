-- Where would a model that is watched in silence have alerted and the one that was told not, day by day?
-- grain: one row a day, shadow and model that was told
-- units: hours, patients, both, shadow_only and told_only (hours at or over the model's own threshold) are counts; mean_apart:
--        mean of the risks' absolute difference, from 0 to 1; days in UTC
-- asked by: clinical informaticians, before a shadow is promoted
SELECT date_trunc('day', hour_start) AS day, model_version, told_version, count(*) AS hours,
       count(DISTINCT subject_token) AS patients,
       count(*) FILTER (is_alerting AND told_alerting) AS both,
       count(*) FILTER (is_alerting AND NOT told_alerting) AS shadow_only,
       count(*) FILTER (told_alerting AND NOT is_alerting) AS told_only,
       round(avg(abs(risk - told_risk)), 4) AS mean_apart
FROM shadow_scores
GROUP BY ALL
ORDER BY day, model_version, told_version
