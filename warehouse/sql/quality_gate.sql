-- Which days may be built upon, and what stands against the others?
-- grain: one row a table and day, its newest verdict
-- units: expectations, rows and verdicts are counts; failed lists expectations; evaluated_at in UTC
-- asked by: data quality, whoever waits for a roll-up
SELECT table_name, day,
       CASE WHEN passed THEN 'released' ELSE 'held' END AS verdict,
       failed, expectations, "rows", suite_version, snapshot_id, evaluated_at,
       count(*) OVER (PARTITION BY table_name, day) AS verdicts
FROM quality_results
QUALIFY row_number() OVER (PARTITION BY table_name, day ORDER BY evaluated_at DESC, snapshot_id DESC) = 1
ORDER BY day DESC, table_name
