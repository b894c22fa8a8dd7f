-- How long from a specimen to its first release, and from the release to this house's log?
-- grain: one row a laboratory (of a result: the first that one of its versions names) and code
-- units: results counts results; collected to reported in minutes; reported to Kafka's append in seconds (two clocks)
-- asked by: laboratory operations, integration engineers
WITH first_release AS (
    SELECT code, order_id, subject_token,
           min_by(lab, reported_at) FILTER (lab IS NOT NULL) AS lab,
           min(epoch(reported_at - collected_at) / 60) AS minutes,
           min_by(epoch(kafka_time - reported_at), reported_at) AS seconds
    FROM labs
    GROUP BY ALL
)
SELECT lab, name, code,
       count(*) AS results,
       quantile_cont(minutes, 0.5) AS p50_minutes,
       quantile_cont(minutes, 0.9) AS p90_minutes,
       quantile_cont(seconds, 0.5) AS p50_to_kafka_s,
       max(seconds) AS worst_to_kafka_s
FROM first_release LEFT JOIN codes USING (code)
GROUP BY lab, name, code
ORDER BY p90_minutes DESC, lab, name
