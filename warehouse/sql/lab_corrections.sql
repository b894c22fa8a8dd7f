-- How often does a laboratory take back or correct what it had released as final?
-- grain: one row a laboratory and code
-- units: results, corrected and withdrawn are counts of results; corrected_percent is of results;
--        largest_change in the unit of its row, between a first final value and the current one; median_hours between
--        these two reports
-- asked by: clinical chemistry, informaticians who trained on first values
WITH released AS (
    SELECT subject_token, order_id, code, min_by(numeric_value, reported_at) AS first_value,
           min(reported_at) AS first_at
    FROM labs WHERE status = 'F' GROUP BY ALL
), judged AS (
    SELECT now.lab, now.code, now.unit, now.status, first_value, first_at, now.numeric_value, now.reported_at
    FROM labs_current AS now JOIN released
      ON now.order_id = released.order_id AND now.code = released.code
     AND now.subject_token IS NOT DISTINCT FROM released.subject_token
)
SELECT lab, name, code, any_value(judged.unit) AS unit,
       count(*) AS results,
       count(*) FILTER (status = 'C') AS corrected,
       count(*) FILTER (status = 'X') AS withdrawn,
       round(100.0 * count(*) FILTER (status IN ('C', 'X')) / count(*), 2) AS corrected_percent,
       max(abs(numeric_value - first_value)) AS largest_change,
       quantile_cont(epoch(reported_at - first_at) / 3600, 0.5) FILTER (status IN ('C', 'X')) AS median_hours
FROM judged LEFT JOIN codes USING (code)
GROUP BY lab, name, code
ORDER BY corrected_percent DESC, lab, name
