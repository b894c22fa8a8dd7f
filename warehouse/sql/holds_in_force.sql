-- Which days must retention leave as they are, on whose word and why?
-- grain: one row a hold in force
-- units: placed_at in UTC; a missing first or last day is open at that end; table * is every table
-- asked by: data protection, legal
SELECT hold, table_name, first_day, last_day, reason, who, "at" AS placed_at
FROM retention_holds
WHERE act = 'placed' AND hold NOT IN (SELECT hold FROM retention_holds WHERE act = 'lifted')
ORDER BY placed_at, hold
