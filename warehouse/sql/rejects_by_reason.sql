-- What is wrong with what the streams bring?
-- grain: one row a stream, stage and reason
-- units: rejects counts messages, bytes their sizes as received; patients counts those whose key could be read; UTC
-- asked by: stream owners
SELECT stream, stage, reason,
       count(*) AS rejects,
       sum(size_bytes) AS bytes,
       count(DISTINCT subject_token) AS patients,
       min(kafka_time) AS first_at,
       max(kafka_time) AS last_at
FROM rejects
GROUP BY ALL
ORDER BY rejects DESC, stream, stage, reason
