-- Which devices' clocks are off?
-- grain: one row a table and device
-- units: lags in seconds from the device's time to its receipt (a gateway's, or else the broker's append); the least is
--        the best estimate of a clock's offset plus the way (below 0: the clock runs ahead); drift_s is the last day's
--        median lag less the first's
-- asked by: biomedical engineering
WITH lag AS (
    SELECT 'vitals' AS table_name, device_id, ward, event_time,
           (epoch_us(coalesce(received_at, kafka_time)) - epoch_us(event_time)) / 1e6 AS s FROM vitals
    UNION ALL
    SELECT 'wearables', device_id, ward, event_time,
           (epoch_us(coalesce(received_at, kafka_time)) - epoch_us(event_time)) / 1e6 FROM wearables
), daily AS (
    SELECT table_name, device_id, date_trunc('day', event_time) AS day, max_by(ward, event_time) AS ward,
           count(*) AS readings, min(s) AS least_s, median(s) AS median_s, count(*) FILTER (s < 0) AS ahead
    FROM lag WHERE device_id IS NOT NULL
    GROUP BY ALL
)
SELECT table_name, device_id, max_by(ward, day) AS ward,
       sum(readings)::BIGINT AS readings,
       min(least_s) AS least_lag_s,
       median(median_s) AS median_lag_s,
       sum(ahead)::BIGINT AS ahead,
       max_by(median_s, day) - min_by(median_s, day) AS drift_s,
       CASE WHEN min(least_s) < -2 THEN 'ahead' WHEN min(least_s) > 60 THEN 'behind, or it stores' END AS suspicion
FROM daily
GROUP BY table_name, device_id
ORDER BY suspicion NULLS LAST, least_lag_s, device_id
