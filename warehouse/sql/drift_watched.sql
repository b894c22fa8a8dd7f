-- How far have the watches over a model's scores and errors come, and when did one last see a change?
-- grain: one row a watch and model
-- units: stays, changes and since_change (stays since the last change) are counts; mean is of the stretch since then, from 0
--        to 1; seen_until and last_change_at (when it was found) in UTC
-- asked by: clinical informaticians
SELECT monitor, version, max(seen_until) AS seen_until, arg_max(stays, made_at) AS stays,
       sum(changes)::BIGINT AS changes, arg_max(len("values"), made_at) AS since_change,
       round(arg_max(mean, made_at), 4) AS mean, max(made_at) FILTER (changes > 0) AS last_change_at
FROM drift_monitors
GROUP BY ALL
ORDER BY monitor, version
