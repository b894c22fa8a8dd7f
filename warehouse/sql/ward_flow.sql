-- From where to where do patients move, and after how long?
-- grain: one row a ward and the next one (null: out of the house, or still there)
-- units: moves counts stretches in the first ward; open those that have not ended; hours in the first ward
-- asked by: bed management, capacity planning
WITH stretch AS (
    SELECT ward AS from_ward, started_at, ended_at,
           lead(ward) OVER (PARTITION BY subject_token, stay_id ORDER BY movement) AS to_ward
    FROM stay_movements
)
SELECT from_ward, to_ward,
       count(*) AS moves,
       count(*) FILTER (ended_at IS NULL) AS open,
       quantile_cont(epoch(ended_at - started_at) / 3600, 0.5) AS median_h
FROM stretch
GROUP BY ALL
ORDER BY moves DESC, from_ward, to_ward
