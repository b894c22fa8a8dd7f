-- Who lies where now?
-- grain: one row a ward with at least one open stay; of admissions, discharges and their cancellations what was entered
--        last holds
-- units: patients counts open stays; beds distinct beds; times in ward and house in hours to now, or to --as-of; age in
--        years by year of birth
-- asked by: bed management, the house supervisor
WITH event AS (
    SELECT *, coalesce(recorded_at, event_time) AS entered_at FROM adt_events
), stay AS (
    SELECT subject_token, stay_id,
           max_by(type, (entered_at, event_id)) FILTER (type IN ('A01', 'A11')) AS admission,
           max_by(type, (entered_at, event_id)) FILTER (type IN ('A03', 'A13')) AS discharge,
           max_by(ward, (event_time, entered_at, event_id)) FILTER (ward IS NOT NULL) AS ward,
           max_by(bed, (event_time, entered_at, event_id)) FILTER (bed IS NOT NULL) AS bed,
           max(event_time) FILTER (type = 'A01') AS admitted_at,
           max(event_time) FILTER (type IN ('A01', 'A02')) AS moved_at,
           max_by(birth_year, entered_at) AS birth_year
    FROM event
    GROUP BY ALL
)
SELECT ward,
       count(*) AS patients,
       count(DISTINCT bed) AS beds,
       quantile_cont(epoch($asked_at::TIMESTAMPTZ - moved_at) / 3600, 0.5) AS median_ward_h,
       max(epoch($asked_at::TIMESTAMPTZ - admitted_at) / 3600) AS longest_stay_h,
       quantile_cont(year($asked_at::TIMESTAMPTZ) - birth_year, 0.5) AS median_age
FROM stay
WHERE admission = 'A01' AND discharge IS DISTINCT FROM 'A03'
GROUP BY ward
ORDER BY patients DESC, ward
