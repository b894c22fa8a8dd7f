-- Which rules speak, how often, and how often does the policy hold them back?
-- grain: one row a rule, severity and level
-- units: alerts, withheld, taken_back and patients are counts; first_at and last_at are starts of episodes by event time, UTC
-- asked by: the alarm committee, on-call
WITH decided AS (
    SELECT rule, severity, level, subject_token, episode_start, NULL AS withheld_because, retracts FROM alerts
    UNION ALL
    SELECT rule, severity, level, subject_token, episode_start, withheld_because, NULL FROM alerts_withheld
)
SELECT rule, severity, level,
       count(*) FILTER (withheld_because IS NULL AND retracts IS NULL) AS alerts,
       count(*) FILTER (withheld_because = 'cool_down') AS withheld_by_cool_down,
       count(*) FILTER (withheld_because = 'expired') AS withheld_as_expired,
       count(*) FILTER (retracts IS NOT NULL) AS taken_back,
       count(DISTINCT subject_token) AS patients,
       min(episode_start) AS first_at,
       max(episode_start) AS last_at
FROM decided
GROUP BY ALL
ORDER BY rule, level
