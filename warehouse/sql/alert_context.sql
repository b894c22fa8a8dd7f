-- What did the monitor show in the ten minutes before each alert?
-- grain: one row an alert and code with at least one reading that counts
-- units: last, minimum and maximum in the unit of their row; readings is a count; effective_at in UTC
-- asked by: the alarm committee, whoever reviews an alert
SELECT alerts.effective_at AS effective_at, rule, severity, alerts.ward AS ward, alerts.subject_token AS subject_token,
       name, vitals.code AS code, any_value(vitals.unit) AS unit,
       count(*) AS readings,
       max_by(numeric_value, (event_time, vitals.kafka_offset)) AS last,
       min(numeric_value) AS minimum,
       max(numeric_value) AS maximum,
       alert_id
FROM alerts
JOIN vitals ON vitals.subject_token = alerts.subject_token
           AND vitals.event_time BETWEEN alerts.effective_at - INTERVAL 10 MINUTE AND alerts.effective_at
LEFT JOIN codes ON codes.code = vitals.code
WHERE retracts IS NULL AND quality_flag IS NULL AND numeric_value IS NOT NULL
GROUP BY alert_id, alerts.effective_at, rule, severity, alerts.ward, alerts.subject_token, name, vitals.code
ORDER BY effective_at, alert_id, name
