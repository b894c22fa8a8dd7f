-- How late do events reach this house after they happened?
-- grain: one row a stream that senders outside bring, of this product's own; streams that a site added are not asked
-- units: messages is a count; lags in seconds from the time of the event (of a result: its release) to the broker's
--        append, by the sender's clock; ahead counts those dated after their append; over_an_hour those later than that
-- asked by: data engineers who set windows, analysts who compare charted with stored
WITH lag AS (
    SELECT 'device.vitals' AS stream, (epoch_us(kafka_time) - epoch_us(event_time)) / 1e6 AS s FROM vitals
    UNION ALL SELECT 'iot.patient', (epoch_us(kafka_time) - epoch_us(event_time)) / 1e6 FROM wearables
    UNION ALL SELECT 'lab.results', (epoch_us(kafka_time) - epoch_us(reported_at)) / 1e6 FROM labs
    UNION ALL SELECT 'adt.events', (epoch_us(kafka_time) - epoch_us(event_time)) / 1e6 FROM adt_events
    UNION ALL SELECT 'medication.events', (epoch_us(kafka_time) - epoch_us(event_time)) / 1e6 FROM medication_events
)
SELECT stream,
       count(*) AS messages,
       round(approx_quantile(s, 0.5), 3) AS p50_s,
       round(approx_quantile(s, 0.99), 3) AS p99_s,
       max(s) AS worst_s,
       count(*) FILTER (s < 0) AS ahead,
       count(*) FILTER (s > 3600) AS over_an_hour
FROM lag
GROUP BY stream
ORDER BY stream
