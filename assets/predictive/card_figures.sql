-- about: The figures that the model card states, each with its slice, bound and size.
-- grain: sprint, metric, slice
-- every: sprint
-- window: sprint
SELECT sprint, 'agreement' AS metric, 'all' AS slice, agreement AS value, agreement_lower AS lower, judged AS n
FROM predictive.audits
UNION ALL
SELECT sprint, 'agreement' AS metric, stratum AS slice, agreement AS value, agreement_lower AS lower, judged AS n
FROM predictive.overturned_strata
UNION ALL
SELECT sprint, 'rollout_coverage' AS metric, 'all' AS slice, coverage AS value, CAST(NULL AS DECIMAL(38, 9)) AS lower, ga_tenants AS n
FROM predictive.rollout
