-- How did each patient's signals run, minute by minute?
-- grain: one row a patient, ward, code, unit and minute of event time; only days that the quality gate has released
-- units: mean, minimum, maximum, first and last in the unit of their row; samples counts readings; minute in UTC
-- asked by: ward analysts, dashboards
SELECT minute, subject_token, ward, name, code, samples, mean, minimum, maximum, first, last, minutes.unit AS unit
FROM vitals_by_minute AS minutes LEFT JOIN codes USING (code)
ORDER BY minute, subject_token, name
