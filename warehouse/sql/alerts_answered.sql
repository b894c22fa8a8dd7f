-- Which alerts does anybody answer, and how soon?
-- grain: one row a rule and model (none: a rule without one)
-- units: alerts, acknowledged, acted, overridden and unanswered are counts of alerts sent, an alert with several words in
--        each; p50_minutes: from the broker's append of the alert to the first word on it, by the clock of who said it
-- asked by: the alarm committee, clinical informaticians
WITH sent AS (
    SELECT alert_id, any_value(rule) AS rule, any_value(model) AS model, min(kafka_time) AS sent_at
    FROM alerts WHERE retracts IS NULL GROUP BY alert_id
), said AS (
    SELECT alert_id, bool_or(action = 'acknowledged') AS acknowledged, bool_or(action = 'acted') AS acted,
           bool_or(action = 'overridden') AS overridden, min(event_time) AS first_at
    FROM alert_feedback WHERE alert_id IS NOT NULL AND action <> 'outcome' GROUP BY alert_id
)
SELECT rule, model,
       count(*) AS alerts,
       count(*) FILTER (acknowledged) AS acknowledged,
       count(*) FILTER (acted) AS acted,
       count(*) FILTER (overridden) AS overridden,
       count(*) FILTER (first_at IS NULL) AS unanswered,
       quantile_cont(date_diff('second', sent_at, first_at) / 60.0, 0.5) AS p50_minutes
FROM sent LEFT JOIN said USING (alert_id)
GROUP BY rule, model
ORDER BY rule, model
