-- What does the laboratory say of every patient now?
-- grain: one row a patient and code, the current version of the result that was collected last (ties: reported last)
-- units: numeric_value in the unit of its row, null with status X where no result can be had; comparator: < or > where
--        the value is a bound; age_h in hours from the specimen to now, or to --as-of
-- asked by: rounds, whoever takes over a patient
SELECT subject_token, name, code, numeric_value, comparator, results.unit AS unit, status, quality_flag,
       collected_at, reported_at, lab,
       epoch($asked_at::TIMESTAMPTZ - collected_at) / 3600 AS age_h
FROM labs_current AS results LEFT JOIN codes USING (code)
WHERE subject_token IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY subject_token, code ORDER BY collected_at DESC, reported_at DESC, order_id) = 1
ORDER BY subject_token, name
