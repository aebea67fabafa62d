-- about: Every decision once, for ever; of its copies the first landed counts.
-- grain: decision_id
-- every: day
-- window: landing_day
-- scope: {staging.decisions: through}
-- engine: portable
WITH copies AS (
    SELECT landing_day, occurred_at, decision_id, tenant_id, model, model_version, inputs_digest, outcome, score, stratum, status, latency_ms, cost,
           CAST(row_number() OVER (
               PARTITION BY decision_id
               ORDER BY landing_day NULLS FIRST, occurred_at NULLS FIRST, tenant_id NULLS FIRST, model NULLS FIRST, model_version NULLS FIRST, inputs_digest NULLS FIRST,
                        outcome NULLS FIRST, score NULLS FIRST, stratum NULLS FIRST, status NULLS FIRST, latency_ms NULLS FIRST, cost NULLS FIRST) AS BIGINT) AS copy
    FROM staging.decisions
    WHERE landing_day <= CAST($last AS DATE)
)
SELECT landing_day, occurred_at, decision_id, tenant_id, model, model_version, inputs_digest, outcome, score, stratum, status, latency_ms, cost
FROM copies
WHERE copy = 1 AND landing_day >= CAST($first AS DATE)
