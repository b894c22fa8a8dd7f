-- Whose signals swing most within an hour, and is the hour observed well enough to say so?
-- grain: one row a patient, code, unit, ward and hour with at least thirty minutes observed; only released days
-- units: mean, median, minimum, maximum and deviation in the unit of their row; observed in percent of the hour's
--        minutes; swing is the deviation in percent of the mean; hour in UTC
-- asked by: critical care analysts, whoever builds a feature
SELECT hour, subject_token, ward, name, code, hours.unit AS unit, samples,
       round(100.0 * minutes / 60, 1) AS observed,
       mean, median, minimum, maximum, deviation,
       round(100 * deviation / nullif(abs(mean), 0), 2) AS swing
FROM vitals_by_hour AS hours LEFT JOIN codes USING (code)
WHERE minutes >= 30
ORDER BY swing DESC NULLS LAST, hour, subject_token, name
