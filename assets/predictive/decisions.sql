-- about: Every decision once, for ever; of its copies the first landed counts.
-- grain: decision_id
-- every: day
-- window: landing_day
-- scope: {staging.decisions: through}
-- engine: portable
WITH copies AS (
    SELECT landing_day, occurred_at, decision_id, tenant_id, model, model_version, inputs_digest, outcome, score, stratum, status, latency_ms, cost,
           row_number() OVER (PARTITION BY decision_id
                              ORDER BY landing_day, occurred_at, tenant_id, model, model_version, inputs_digest, outcome, score, stratum, status, latency_ms, cost) AS copy
    FROM staging.decisions
    WHERE landing_day <= CAST($last AS DATE)
)
SELECT landing_day, occurred_at, decision_id, tenant_id, model, model_version, inputs_digest, outcome, score, stratum, status, latency_ms, cost
FROM copies
WHERE copy = 1 AND landing_day >= CAST($first AS DATE)
