-- Which drugs are given, how, to how many and how much?
-- grain: one row a drug, route and unit of dose
-- units: given, uncharted and patients are counts; doses in the canonical unit of their row; uncharted: given without a
--        dose; times UTC
-- asked by: pharmacy, drug utilisation analysts
SELECT code, route, unit,
       count(*) AS given,
       count(DISTINCT subject_token) AS patients,
       count(*) FILTER (dose IS NULL) AS uncharted,
       quantile_cont(dose, 0.5) AS median_dose,
       min(dose) AS least_dose,
       max(dose) AS largest_dose,
       min(event_time) AS first_at,
       max(event_time) AS last_at
FROM medication_events
WHERE action = 'administered'
GROUP BY ALL
ORDER BY given DESC, code, route, unit
