-- about: Share of the tenants with general availability whom the live version served in the sprint.
-- grain: sprint
-- every: sprint
-- window: sprint
-- columns:
--   ga_tenants: Tenants with general availability when the sprint ends; frozen with the attempt.
--   served: Those with a decision of the live version.
--   coverage: served / ga_tenants, rounded down at the ninth decimal.
SELECT sprint, count(*) AS ga_tenants, CAST(sum(served) AS BIGINT) AS served,
       CAST(CAST((CAST(sum(served) AS HUGEINT) * 1000000000) // count(*) AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS coverage
FROM predictive.rollout_tenants
GROUP BY sprint
