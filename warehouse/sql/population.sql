-- Whom do we care for, and whom do the alerts concern?
-- grain: one row an age band and sex, over all released days
-- units: all are counts of patient-days or events but the last two: alerted_percent of patient-days, alerts_per_100 of
--        patient-days
-- asked by: population health, equity of alarms
SELECT age_band, sex,
       count(*) AS days,
       sum(patients)::BIGINT AS patient_days,
       sum(admissions)::BIGINT AS admissions,
       sum(discharges)::BIGINT AS discharges,
       sum(monitored)::BIGINT AS monitored,
       round(100.0 * sum(alerted) / sum(patients), 1) AS alerted_percent,
       round(100.0 * sum(alerts) / sum(patients), 1) AS alerts_per_100
FROM population_by_day
GROUP BY ALL
ORDER BY age_band, sex
