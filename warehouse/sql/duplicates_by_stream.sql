-- How much is sent twice, and how far apart?
-- grain: one row a stream and partition
-- units: duplicates counts messages, events distinct ones; distances in offsets between first sight and repetition; UTC
-- asked by: stream owners, operations (a distance near the horizon means repetitions get through)
SELECT stream, kafka_partition,
       count(*) AS duplicates,
       count(DISTINCT event_id) AS events,
       quantile_cont(kafka_offset - first_offset, 0.5) AS median_distance,
       max(kafka_offset - first_offset) AS longest_distance,
       max(kafka_time) AS last_at
FROM duplicates
GROUP BY ALL
ORDER BY stream, kafka_partition
