-- about: Share of the tagged issues that have an action with an owner.
-- grain: sprint
-- every: sprint
-- window: sprint
-- columns:
--   share: tracked / tagged, rounded down at the ninth decimal.
SELECT sprint, count(*) AS tagged, CAST(sum(tracked) AS BIGINT) AS tracked, CAST(sum(overdue) AS BIGINT) AS overdue,
       CAST(CAST((CAST(sum(tracked) AS HUGEINT) * 1000000000) // count(*) AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS share
FROM marketplace.issues
WHERE tags <> ''
GROUP BY sprint
