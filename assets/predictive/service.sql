-- about: Errors and latency of each tenant and version in the sprint.
-- grain: sprint, tenant_id, model_version
-- every: sprint
-- window: sprint
-- columns:
--   error_share: errors / decisions, rounded up at the ninth decimal.
--   p95_ms: Latency that 95% of the decisions do not exceed, by nearest rank.
SELECT sprints.sprint, decisions.tenant_id, decisions.model_version, count(*) AS decisions,
       count(*) FILTER (WHERE decisions.status = 'error') AS errors,
       CAST(CAST((CAST(count(*) FILTER (WHERE decisions.status = 'error') AS HUGEINT) * 1000000000 + count(*) - 1) // count(*) AS DECIMAL(38, 0))
            * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS error_share,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY decisions.latency_ms) AS p95_ms
FROM reference.sprints AS sprints
JOIN predictive.decisions AS decisions
  ON decisions.occurred_at >= sprints.start_utc AND decisions.occurred_at < sprints.end_utc AND decisions.landing_day <= sprints.cutoff_day
JOIN predictive.settings AS settings ON settings.model = decisions.model
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY sprints.sprint, decisions.tenant_id, decisions.model_version
