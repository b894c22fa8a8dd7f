-- Which requests for erasure are there, how far are they, and how old?
-- grain: one row a request, its newest state
-- units: age_days from the request to now, or to --as-of; stores, left_over and bytes_removed of its run's receipts; UTC
-- asked by: the privacy officer, against the deadline
WITH told AS (
    SELECT batch, count(DISTINCT store) AS stores, arg_max(left_over, "at") AS left_over, sum(bytes) AS bytes_removed
    FROM erasure_receipts
    GROUP BY batch
)
SELECT request_id, state, category, requested_at,
       round(epoch($asked_at::TIMESTAMPTZ - requested_at) / 86400, 1) AS age_days,
       "at" AS since, acted_by, reason, stores, left_over, bytes_removed
FROM erasure_requests
LEFT JOIN told USING (batch)
QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY "at" DESC) = 1
ORDER BY requested_at, request_id
