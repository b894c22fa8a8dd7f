-- Which orders wait for their first dose?
-- grain: one row an order that was neither given nor stopped
-- units: dose in the unit of its row, as ordered; waits_min in minutes from the order to now, or to --as-of
-- asked by: the ward's pharmacist, nurses at handover
SELECT subject_token, order_id,
       any_value(code) AS code,
       min_by(dose, event_time) AS dose,
       min_by(unit, event_time) AS unit,
       min_by(route, event_time) AS route,
       bool_or(action = 'fulfilled') AS handed_out,
       min(event_time) FILTER (action = 'ordered') AS ordered_at,
       epoch($asked_at::TIMESTAMPTZ - min(event_time) FILTER (action = 'ordered')) / 60 AS waits_min
FROM medication_events
GROUP BY subject_token, order_id
HAVING bool_or(action = 'ordered') AND NOT bool_or(action IN ('administered', 'stopped'))
ORDER BY waits_min DESC, order_id
