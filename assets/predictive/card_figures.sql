-- about: The figures that the model card states, each with its slice, bound and size.
-- grain: sprint, metric, slice
-- every: sprint
-- window: sprint
SELECT sprint, 'agreement' AS metric, 'all' AS slice, agreement AS value, agreement_lower AS lower, judged AS n
FROM predictive.audits
UNION ALL
SELECT sprint, 'agreement' AS metric, stratum AS slice,
       CAST(CAST(((CAST(judged AS HUGEINT) - overturned) * 1000000000) // judged AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS value,
       CAST(NULL AS DECIMAL(38, 9)) AS lower, judged AS n
FROM predictive.overturned_strata
UNION ALL
SELECT sprint, 'rollout_coverage' AS metric, 'all' AS slice, coverage AS value, CAST(NULL AS DECIMAL(38, 9)) AS lower, ga_tenants AS n
FROM predictive.rollout
