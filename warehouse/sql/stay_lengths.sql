-- How long do patients stay, by where they were last, and how clean are their movements?
-- grain: one row a ward (of a discharged stay: the last one)
-- units: stays, open, discharged, cancelled, expected and unmatched are counts; unmatched: cancellations that found
--        nothing to take back; lengths in hours from admission to discharge
-- asked by: capacity planning, informaticians
SELECT ward,
       count(*) AS stays,
       count(*) FILTER (state = 'admitted') AS open,
       count(*) FILTER (state = 'discharged') AS discharged,
       count(*) FILTER (state = 'cancelled') AS cancelled,
       count(*) FILTER (state = 'expected') AS expected,
       quantile_cont(epoch(discharged_at - admitted_at) / 3600, 0.5) AS median_h,
       quantile_cont(epoch(discharged_at - admitted_at) / 3600, 0.9) AS p90_h,
       sum(unmatched_cancels)::BIGINT AS unmatched
FROM stays
GROUP BY ward
ORDER BY stays DESC, ward
