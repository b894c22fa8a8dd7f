-- Where does every patient stand now?
-- grain: one row a patient and code, the newest unflagged reading by event time (ties: the later offset)
-- units: numeric_value in the unit of its row; age_s in seconds from the reading to now, or to --as-of (below 0:
--        the device's clock runs ahead)
-- asked by: the ward's charge nurse, rounds
WITH newest AS (
    SELECT subject_token, code, max_by(
               {'ward': ward, 'number': numeric_value, 'text': text_value, 'unit': unit, 'event_time': event_time},
               (event_time, kafka_offset)
           ) AS reading
    FROM vitals
    WHERE subject_token IS NOT NULL AND quality_flag IS NULL AND period_ms IS NULL
    GROUP BY ALL
)
SELECT subject_token, reading.ward AS ward, name, code, reading.number AS numeric_value, reading.text AS text_value,
       reading.unit AS unit, reading.event_time AS event_time,
       epoch($asked_at::TIMESTAMPTZ - reading.event_time) AS age_s
FROM newest LEFT JOIN codes USING (code)
ORDER BY ward, subject_token, name
