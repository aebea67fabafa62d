-- about: Decisions of each tenant with general availability in the sprint, and how many of them the live version took.
-- grain: sprint, tenant_id
-- every: sprint
-- window: sprint
-- columns:
--   served: 1 where the live version served at least one decision.
WITH served AS (SELECT sprint, tenant_id, count(*) AS decisions FROM predictive.in_scope GROUP BY sprint, tenant_id)
SELECT available.sprint, available.tenant_id, CAST(coalesce(served.decisions, 0) AS BIGINT) AS live_decisions,
       CAST(CASE WHEN served.decisions > 0 THEN 1 ELSE 0 END AS BIGINT) AS served
FROM predictive.available AS available
LEFT JOIN served ON served.sprint = available.sprint AND served.tenant_id = available.tenant_id
