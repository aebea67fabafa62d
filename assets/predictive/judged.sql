-- about: The sampled decisions that are judged, once and for every figure; as soon as the first read is finished, or any finished read overturned one.
-- grain: sprint, decision_id
-- every: sprint
-- window: sprint
-- columns:
--   first_verdict: upheld or overturned; NULL where the first read is open.
--   second_verdict: The same of the second reader; NULL also where nobody reads it a second time.
--   overturned: 1 where any finished read says so.
WITH read AS (
    SELECT sprint, decision_id, model, model_version, stratum,
           max(CASE WHEN reader = 'first' THEN verdict END) AS first_verdict,
           max(CASE WHEN reader = 'second' THEN verdict END) AS second_verdict
    FROM predictive.audit_reads
    WHERE sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY sprint, decision_id, model, model_version, stratum
)
SELECT sprint, decision_id, model, model_version, stratum, first_verdict, second_verdict,
       CAST(CASE WHEN 'overturned' IN (first_verdict, second_verdict) THEN 1 ELSE 0 END AS BIGINT) AS overturned
FROM read
WHERE first_verdict IS NOT NULL OR second_verdict = 'overturned'
