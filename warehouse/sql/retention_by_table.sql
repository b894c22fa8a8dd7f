-- What did retention do to each table, and how much of it can still be taken back?
-- grain: one row a table and act
-- units: days, rows and receipts are counts; bytes in By; times in UTC
-- asked by: data protection, whoever misses a day
SELECT table_name, act, count(DISTINCT receipt) AS receipts, count(*) AS days, min(day) AS first_day, max(day) AS last_day,
       sum("rows")::BIGINT AS "rows", sum(bytes)::BIGINT AS bytes,
       count(*) FILTER (WHERE undo_until > $asked_at::TIMESTAMPTZ) AS days_to_undo, max(acted_at) AS last_at
FROM retention_receipts
GROUP BY ALL
ORDER BY table_name, act
