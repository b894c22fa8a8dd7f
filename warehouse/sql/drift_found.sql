-- What has changed in what a model is shown, where, and what mends it?
-- grain: one row a finding of a look
-- units: share of stays concerned, from 0 to 1; stays and tests are counts; profile_stays: those of the newest profile of the
--        version that the look was held against; UTC
-- asked by: clinical informaticians, laboratory and device managers
SELECT look, made_at, version, kind, place, items, share, because, remedy, retrains, stays, tests,
       (SELECT max(of_stays) FROM drift_profiles WHERE drift_profiles.version = drift_reports.version) AS profile_stays
FROM drift_reports
ORDER BY made_at DESC, place, kind
