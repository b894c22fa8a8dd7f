-- Which codes really come, in which units, and do their values lie where the vocabulary says?
-- grain: one row a table and code
-- units: values and plausible bounds in the unit of their row; readings, patients, flagged and waves are counts
-- asked by: clinical informaticians, whoever builds a feature
WITH observed AS (
    SELECT 'vitals' AS table_name, code, unit, numeric_value, subject_token, quality_flag, period_ms FROM vitals
    UNION ALL
    SELECT 'wearables', code, unit, numeric_value, subject_token, quality_flag, period_ms FROM wearables
    UNION ALL
    SELECT 'labs', code, unit, numeric_value, subject_token, quality_flag, NULL FROM labs_current
)
SELECT table_name, code, name, any_value(observed.unit) AS unit, any_value(system) AS system,
       count(*) AS readings,
       count(DISTINCT subject_token) AS patients,
       count(quality_flag) AS flagged,
       count(period_ms) AS waves,
       any_value(low) AS plausible_low,
       min(numeric_value) AS minimum,
       approx_quantile(numeric_value, 0.5) AS median,
       max(numeric_value) AS maximum,
       any_value(high) AS plausible_high
FROM observed LEFT JOIN codes USING (code)
GROUP BY table_name, code, name
ORDER BY table_name, readings DESC, code
