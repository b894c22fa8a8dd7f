-- Which results stand otherwise than they were first released as final?
-- grain: one row a result of a released day that was corrected or withdrawn after it had been final
-- units: released_value and numeric_value in the row's unit (both null for what was withdrawn); versions is a count;
--        after_h in hours from the first final report to the one that stands; UTC
-- asked by: clinical chemistry, clinicians who acted on a first value
SELECT subject_token, order_id, name, code, lab, collected_at, status, released_value, numeric_value,
       lab_results.unit AS unit, versions, released_at, reported_at,
       epoch(reported_at - released_at) / 3600 AS after_h
FROM lab_results LEFT JOIN codes USING (code)
WHERE released_at IS NOT NULL AND status IN ('C', 'X')
ORDER BY reported_at DESC, order_id, code
