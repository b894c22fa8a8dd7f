-- Does every hour bring what it should, and how late does it reach the lake?
-- grain: one row an hour of event time and ward
-- units: readings, patients, devices and flagged are counts; delays in seconds from the broker's append to the row; UTC
-- asked by: operations, data quality
SELECT time_bucket(INTERVAL 1 HOUR, event_time) AS hour, ward,
       count(*) AS readings,
       count(DISTINCT subject_token) AS patients,
       count(DISTINCT device_id) AS devices,
       count(quality_flag) AS flagged,
       quantile_cont((epoch_us(ingest_time) - epoch_us(kafka_time)) / 1e6, 0.5) AS p50_delay_s,
       quantile_cont((epoch_us(ingest_time) - epoch_us(kafka_time)) / 1e6, 0.99) AS p99_delay_s
FROM vitals
GROUP BY ALL
ORDER BY hour, ward
