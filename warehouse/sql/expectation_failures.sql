-- Which expectations fail, and do they still?
-- grain: one row a table and expectation that ever failed
-- units: days and verdicts are counts; still_failing counts days whose newest verdict names it; days are dates, UTC
-- asked by: data quality, stream owners
WITH verdict AS (
    SELECT table_name, day, failed, evaluated_at,
           row_number() OVER (PARTITION BY table_name, day ORDER BY evaluated_at DESC, snapshot_id DESC) = 1 AS newest
    FROM quality_results
), named AS (
    SELECT table_name, day, evaluated_at, newest, unnest(failed) AS expectation FROM verdict
)
SELECT table_name, expectation,
       count(DISTINCT day) AS days,
       count(*) AS verdicts,
       count(*) FILTER (newest) AS still_failing,
       min(day) AS first_day,
       max(day) AS last_day
FROM named
GROUP BY ALL
ORDER BY still_failing DESC, days DESC, table_name, expectation
