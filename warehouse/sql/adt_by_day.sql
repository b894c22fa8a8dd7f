-- How many come, move and go, how often is it taken back, and how late is it entered?
-- grain: one row a day of event time and ward
-- units: admitted, moved_in, discharged, taken_back and updated are counts of events; entered_after_min in minutes from
--        the event to its entry, median; day in UTC
-- asked by: bed management, informaticians
SELECT date_trunc('day', event_time) AS day, ward,
       count(*) FILTER (type = 'A01') AS admitted,
       count(*) FILTER (type = 'A02') AS moved_in,
       count(*) FILTER (type = 'A03') AS discharged,
       count(*) FILTER (type IN ('A11', 'A12', 'A13')) AS taken_back,
       count(*) FILTER (type = 'A08') AS updated,
       quantile_cont(epoch(recorded_at - event_time) / 60, 0.5) AS entered_after_min
FROM adt_events
GROUP BY ALL
ORDER BY day, ward
