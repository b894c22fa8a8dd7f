-- Which hours were hard on which ward?
-- grain: one row a ward and hour, the hours with most alerts a patient first; only days the quality gate has released
-- units: patients, readings, alerts and alerts_highest are counts; per_patient is alerts a patient; flagged_percent of
--        readings; hour in UTC
-- asked by: nursing leads, the alarm committee
SELECT ward, hour, patients, readings,
       round(100.0 * flagged / nullif(readings, 0), 1) AS flagged_percent,
       alerts, alerts_highest,
       round(alerts / nullif(patients, 0), 2) AS per_patient
FROM ward_summary
ORDER BY per_patient DESC NULLS LAST, alerts_highest DESC, hour, ward
