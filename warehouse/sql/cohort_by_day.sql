-- How many may be studied, day by day, and how much is known of them?
-- grain: one row a day with somebody who consented then and does now
-- units: people, readings and codes_at_most are counts; day in UTC
-- asked by: research groups, the privacy officer
SELECT day,
       count(DISTINCT subject_token) AS people,
       sum(readings)::BIGINT AS readings,
       max(codes) AS codes_at_most,
       min(consented_at) AS first_consent,
       max(asked_at) AS asked_at
FROM research_cohort
GROUP BY day
ORDER BY day
