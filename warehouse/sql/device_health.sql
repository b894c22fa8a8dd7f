-- Which devices fall silent, repeat themselves or measure nonsense?
-- grain: one row a table and device
-- units: readings and flags are counts; repeated counts messages that were told as duplicates of a reading of its own;
--        silent_s in seconds from the device's newest reading to now, or to --as-of (below 0: its clock runs ahead);
--        longest_gap_s in seconds between neighbours by event time; UTC
-- asked by: biomedical engineering
WITH reading AS (
    SELECT 'vitals' AS table_name, 'device.vitals' AS stream, topic_id, kafka_partition, kafka_offset,
           device_id, ward, code, subject_token, quality_flag, event_time FROM vitals
    UNION ALL
    SELECT 'wearables', 'iot.patient', topic_id, kafka_partition, kafka_offset,
           device_id, ward, code, subject_token, quality_flag, event_time FROM wearables
), gap AS (
    -- Of two columns alone: what is carried through a window must fit into memory, row by row.
    SELECT table_name, device_id, max(gap_us) / 1e6 AS longest_gap_s
    FROM (
        SELECT table_name, device_id, epoch_us(event_time) - lag(epoch_us(event_time)) OVER (
                   PARTITION BY table_name, device_id ORDER BY event_time) AS gap_us
        FROM reading
        WHERE device_id IS NOT NULL
    )
    GROUP BY ALL
), again AS (
    SELECT stream, topic_id, kafka_partition, first_offset AS kafka_offset, count(*) AS times
    FROM duplicates
    GROUP BY ALL
), repeated AS (
    SELECT table_name, device_id, sum(times)::BIGINT AS repeated
    FROM reading JOIN again USING (stream, topic_id, kafka_partition, kafka_offset)
    GROUP BY ALL
)
SELECT table_name, device_id,
       max_by(ward, event_time) AS ward,
       count(*) AS readings,
       count(DISTINCT code) AS codes,
       coalesce(any_value(repeated), 0) AS repeated,
       count(*) FILTER (subject_token IS NULL) AS without_patient,
       count(*) FILTER (quality_flag = 'probe_off') AS probe_off,
       count(*) FILTER (quality_flag = 'out_of_range') AS out_of_range,
       round(100.0 * count(quality_flag) / count(*), 1) AS flagged_percent,
       any_value(longest_gap_s) AS longest_gap_s,
       max(event_time) AS last_at,
       epoch($asked_at::TIMESTAMPTZ - max(event_time)) AS silent_s
FROM reading
LEFT JOIN gap USING (table_name, device_id)
LEFT JOIN repeated USING (table_name, device_id)
WHERE device_id IS NOT NULL
GROUP BY table_name, device_id
ORDER BY flagged_percent DESC, silent_s DESC, device_id
