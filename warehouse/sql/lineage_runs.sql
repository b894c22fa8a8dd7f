-- What was made of what, how long did it take, and did it work?
-- grain: one row a job
-- units: runs, completed, failed and unfinished are counts; seconds from a run's start to its end; last_at in UTC
-- asked by: data engineers, whoever asks where a number comes from
WITH run AS (
    SELECT job, run_id,
           min(event_time) FILTER (event_type = 'START') AS started_at,
           max(event_time) FILTER (event_type IN ('COMPLETE', 'FAIL')) AS ended_at,
           bool_or(event_type = 'COMPLETE') AS completed,
           bool_or(event_type = 'FAIL') AS failed,
           max_by(inputs, event_time) AS inputs,
           max_by(outputs, event_time) AS outputs,
           max(event_time) AS last_at
    FROM lineage_events
    GROUP BY job, run_id
)
SELECT job,
       max_by(inputs, last_at) AS made_of,
       max_by(outputs, last_at) AS makes,
       count(*) AS runs,
       count(*) FILTER (completed) AS completed,
       count(*) FILTER (failed) AS failed,
       count(*) FILTER (NOT completed AND NOT failed) AS unfinished,
       quantile_cont(epoch(ended_at - started_at), 0.5) AS median_s,
       max(epoch(ended_at - started_at)) AS longest_s,
       max(last_at) AS last_at
FROM run
GROUP BY job
ORDER BY failed DESC, job
