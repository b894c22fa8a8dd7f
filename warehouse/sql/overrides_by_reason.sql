-- Why are alerts overridden, and what came of those stays?
-- grain: one row a rule and reason (none: no reason was given)
-- units: overridden, patients and septic are counts; septic: overridden alerts of patients of whom sepsis was told as the
--        outcome that was said last; share_percent: of all alerts of the rule that were sent
-- asked by: the alarm committee, clinical informaticians
WITH sent AS (
    SELECT alert_id, any_value(rule) AS rule, any_value(subject_token) AS subject_token
    FROM alerts WHERE retracts IS NULL GROUP BY alert_id
), said AS (
    SELECT alert_id, arg_max(reason, (event_time, kafka_time)) AS reason
    FROM alert_feedback WHERE alert_id IS NOT NULL AND action = 'overridden' GROUP BY alert_id
), outcomes AS (
    SELECT subject_token, arg_max(outcome, (event_time, kafka_time)) AS outcome
    FROM alert_feedback WHERE action = 'outcome' GROUP BY subject_token
)
SELECT rule, reason,
       count(*) AS overridden,
       count(DISTINCT subject_token) AS patients,
       count(*) FILTER (outcome = 'sepsis') AS septic,
       round(100.0 * count(*) / any_value(of_rule), 1) AS share_percent
FROM (SELECT *, count(*) OVER (PARTITION BY rule) AS of_rule FROM sent)
JOIN said USING (alert_id)
LEFT JOIN outcomes USING (subject_token)
GROUP BY rule, reason
ORDER BY rule, overridden DESC, reason
