-- Which waves come, how dense, and where are they torn?
-- grain: one row a table, device and code
-- units: waves, samples and breaks are counts; rate in samples a second; covered_s and longest_break_s in seconds; a
--        break is more than half a second between a wave's end and the next one's start, by the device's clock
-- asked by: signal analysts, biomedical engineering
WITH wave AS (
    SELECT 'vitals' AS table_name, device_id, code, event_time, len(samples) AS samples, period_ms FROM vitals
    WHERE period_ms IS NOT NULL
    UNION ALL
    SELECT 'wearables', device_id, code, event_time, len(samples), period_ms FROM wearables
    WHERE period_ms IS NOT NULL
), joined AS (
    SELECT *, (lead(epoch_us(event_time)) OVER (PARTITION BY table_name, device_id, code ORDER BY event_time)
              - epoch_us(event_time)) / 1e6 - samples * period_ms / 1000 AS break_s
    FROM wave
)
SELECT table_name, device_id, name, code,
       count(*) AS waves,
       sum(samples)::BIGINT AS samples,
       median(1000 / period_ms) AS rate,
       sum(samples * period_ms) / 1000 AS covered_s,
       count(*) FILTER (break_s > 0.5) AS breaks,
       max(break_s) FILTER (break_s > 0.5) AS longest_break_s
FROM joined LEFT JOIN codes USING (code)
GROUP BY table_name, device_id, name, code
ORDER BY table_name, device_id, name
