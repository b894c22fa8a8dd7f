-- Which devices need a technician, and why?
-- grain: one row a device and table with a clock that is off, long silences or many flags on any released day
-- units: days and days_of_clock are counts; clock_offset_s in seconds, the newest estimate (above 0: it runs ahead);
--        longest_gap_s in seconds; flagged_percent of readings; UTC
-- asked by: biomedical engineering
SELECT device_id, table_name, max_by(ward, day) AS ward,
       count(*) AS days,
       count(clock_flag) AS days_of_clock,
       max_by(clock_flag, day) AS clock_flag,
       max_by(clock_offset_s, day) AS clock_offset_s,
       sum(gaps)::BIGINT AS gaps,
       max(longest_gap_s) AS longest_gap_s,
       round(100.0 * sum(flagged) / sum(readings), 1) AS flagged_percent,
       max(last_at) AS last_at
FROM device_health
GROUP BY device_id, table_name
HAVING count(clock_flag) > 0 OR sum(gaps) > 0 OR sum(flagged) > 0.05 * sum(readings)
ORDER BY days_of_clock DESC, flagged_percent DESC, device_id
