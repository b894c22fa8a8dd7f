-- Which model scores, from when on, who said so, and what did it learn from?
-- grain: one row a model and role, the newest that is in force now, or at --as-of
-- units: learnt_stays is a count; in_force_at by append time, UTC
-- asked by: clinical informaticians, whoever reviews a score
SELECT model_roles.name AS name, role, version, in_force_at, act, model_roles.reason AS reason, approved_by,
       learnt_from, learnt_stays, registered_at
FROM model_roles
LEFT JOIN models USING (version)
WHERE in_force_at <= $asked_at::TIMESTAMPTZ
QUALIFY row_number() OVER (PARTITION BY model_roles.name, role ORDER BY in_force_at DESC, decided_at DESC) = 1
ORDER BY name, role
