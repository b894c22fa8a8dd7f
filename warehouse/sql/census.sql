-- Who lies where now?
-- grain: one row a ward with at least one open stay, by what holds: cancellations (A11, A12, A13) take back the event
--        of their kind and time, or else the latest of its kind that was entered before (of two cancellations of one
--        event the second takes back nothing); updates (A08) correct where somebody lies
-- units: patients counts open stays; beds distinct beds; median_ward_h in hours since the last move, to another bed of
--        the ward too; longest_stay_h in hours since admission; both to now, or to --as-of; age in years by year of
--        birth
-- asked by: bed management, the house supervisor
WITH event AS (
    SELECT *, type IN ('A11', 'A12', 'A13') AS cancels, coalesce(recorded_at, event_time) AS said_at,
           CASE type WHEN 'A11' THEN 'A01' WHEN 'A12' THEN 'A02' WHEN 'A13' THEN 'A03' ELSE type END AS kind
    FROM adt_events
), entered AS (
    -- a cancellation of which nobody says when it was entered follows what it can take back
    SELECT *, coalesce(recorded_at,
                       min(said_at) FILTER (NOT cancels) OVER (PARTITION BY subject_token, stay_id, kind, event_time),
                       event_time) AS entered_at
    FROM event
), numbered AS (
    SELECT *, row_number() OVER (
               PARTITION BY subject_token, stay_id ORDER BY entered_at, cancels, event_time, event_id) AS n
    FROM entered
), aimed AS (
    SELECT *,
           CASE WHEN cancels AND count(*) FILTER (NOT cancels) OVER same_time = 0
                THEN max(event_time) FILTER (NOT cancels) OVER same_kind
                ELSE event_time END AS aim
    FROM numbered
    WINDOW same_time AS (PARTITION BY subject_token, stay_id, kind, event_time ORDER BY n),
           same_kind AS (PARTITION BY subject_token, stay_id, kind ORDER BY n)
), balanced AS (
    SELECT *, sum(CASE WHEN cancels THEN -1 ELSE 1 END) OVER (
               PARTITION BY subject_token, stay_id, kind, aim ORDER BY n) AS balance
    FROM aimed
), judged AS (
    SELECT *,
           NOT cancels AND balance <= coalesce(min(balance) OVER later, balance) AS holds,
           max(n) FILTER (type = 'A01') OVER stay AS admission_n,
           max(n) FILTER (type = 'A11' AND aim IS NOT NULL) OVER stay AS taken_back_n
    FROM balanced
    WINDOW later AS (PARTITION BY subject_token, stay_id, kind, aim ORDER BY n
                     ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING),
           stay AS (PARTITION BY subject_token, stay_id)
), standing AS (
    -- transfers of an admission that was taken back, and not entered again, do not hold either
    SELECT * FROM judged
    WHERE holds AND (type <> 'A02' OR taken_back_n IS NULL OR n > taken_back_n OR admission_n > taken_back_n)
), stay AS (
    SELECT subject_token, stay_id,
           max_by(event_time, n) FILTER (type = 'A01') AS admitted_at,
           greatest(max(event_time) FILTER (type = 'A02'), max_by(event_time, n) FILTER (type = 'A01')) AS moved_at,
           max_by(birth_year, n) FILTER (birth_year IS NOT NULL) AS birth_year
    FROM standing
    GROUP BY ALL
    HAVING count(*) FILTER (type = 'A03') = 0 AND count(*) FILTER (type IN ('A01', 'A02')) > 0
), place AS (
    SELECT stay.*, ward, bed
    FROM stay JOIN standing USING (subject_token, stay_id)
    WHERE (type IN ('A01', 'A02') AND event_time = moved_at)
       OR (type = 'A08' AND event_time >= moved_at AND ward IS NOT NULL)
    QUALIFY row_number() OVER (
        PARTITION BY subject_token, stay_id ORDER BY type = 'A08' DESC, event_time DESC, n DESC) = 1
)
SELECT ward,
       count(*) AS patients,
       count(DISTINCT bed) AS beds,
       quantile_cont(epoch($asked_at::TIMESTAMPTZ - moved_at) / 3600, 0.5) AS median_ward_h,
       max(epoch($asked_at::TIMESTAMPTZ - admitted_at) / 3600) AS longest_stay_h,
       quantile_cont(year($asked_at::TIMESTAMPTZ) - birth_year, 0.5) AS median_age
FROM place
GROUP BY ward
ORDER BY patients DESC, ward
