-- How long from a reading's arrival to the alert it sets off?
-- grain: one row a rule, and whether the reading came late
-- units: milliseconds from the broker's append of the triggering reading to its append of the alert (one clock)
-- asked by: operations, against the latency objective
SELECT rule, late,
       count(*) AS alerts,
       quantile_cont(milliseconds, 0.5) AS p50_ms,
       quantile_cont(milliseconds, 0.99) AS p99_ms,
       max(milliseconds) AS worst_ms
FROM (SELECT rule, late, date_diff('millisecond', appended_at, kafka_time) AS milliseconds FROM alerts WHERE retracts IS NULL)
GROUP BY ALL
ORDER BY rule, late
