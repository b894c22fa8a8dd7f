-- Whose organs show strain in the laboratory?
-- grain: one row a patient: current results, of each marker the one collected last
-- units: lactate in mmol/L, creatinine and bilirubin in mg/dL, platelets in 10*3/uL, pao2 in mm[Hg]; strained counts
--        markers beyond lactate 2, creatinine 1.2, bilirubin 1.2, platelets below 150 (SOFA's first steps); UTC
-- asked by: sepsis team, critical care analysts
WITH newest AS (
    SELECT subject_token, code, max_by(numeric_value, (collected_at, reported_at)) AS value, max(collected_at) AS taken
    FROM labs_current
    WHERE subject_token IS NOT NULL AND numeric_value IS NOT NULL AND quality_flag IS NULL
    GROUP BY ALL
), wide AS (
    SELECT subject_token,
           max(value) FILTER (code = '2524-7') AS lactate,
           max(value) FILTER (code = '2160-0') AS creatinine,
           max(value) FILTER (code = '1975-2') AS bilirubin,
           max(value) FILTER (code = '777-3') AS platelets,
           max(value) FILTER (code = '2703-7') AS pao2,
           max(taken) AS collected_at
    FROM newest WHERE code IN ('2524-7', '2160-0', '1975-2', '777-3', '2703-7')
    GROUP BY subject_token
)
SELECT *, coalesce((lactate > 2)::INT, 0) + coalesce((creatinine >= 1.2)::INT, 0) + coalesce((bilirubin >= 1.2)::INT, 0)
          + coalesce((platelets < 150)::INT, 0) AS strained
FROM wide
ORDER BY strained DESC, subject_token
