-- about: Share of the tenants with a decision in scope of whom at least one audited decision was completed.
-- grain: sprint
-- every: sprint
-- window: sprint
-- columns:
--   in_scope: Tenants with general availability and at least one decision in scope.
--   audited: Those with at least one read completed in time.
--   coverage: audited / in_scope, rounded down at the ninth decimal.
WITH read AS (SELECT DISTINCT sprint, tenant_id FROM predictive.audit_reads WHERE in_time = 1)
SELECT tenants.sprint, count(*) AS in_scope, count(read.tenant_id) AS audited,
       CAST(CAST((CAST(count(read.tenant_id) AS HUGEINT) * 1000000000) // count(*) AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS coverage
FROM predictive.rollout_tenants AS tenants
LEFT JOIN read ON read.sprint = tenants.sprint AND read.tenant_id = tenants.tenant_id
WHERE tenants.served = 1
GROUP BY tenants.sprint
