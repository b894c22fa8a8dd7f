-- Which files with people's rows are still out, who got them, and which must be erased by hand?
-- grain: one row a file that nobody has deleted or confirmed as erased
-- units: rows and to_erase_for (requests for erasure that asked for it) are counts; size_bytes in By; age_days to now, or to
--        --as-of; UTC
-- asked by: data protection
SELECT made.export_id AS export_id, made."at" AS made_at,
       round(epoch($asked_at::TIMESTAMPTZ - made."at") / 86400, 1) AS age_days,
       made.acted_by AS acted_by, made.recipient AS recipient, made.purpose AS purpose, made.host AS host,
       made.path AS path, made."rows" AS "rows", made.size_bytes AS size_bytes,
       count(DISTINCT later.request_id) FILTER (later.act = 'asked') AS to_erase_for
FROM exports AS made
LEFT JOIN exports AS later ON later.export_id = made.export_id AND later.act <> 'made'
WHERE made.act = 'made'
GROUP BY ALL
HAVING count(*) FILTER (later.act IN ('deleted', 'confirmed')) = 0
ORDER BY to_erase_for DESC, made_at
