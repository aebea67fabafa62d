-- about: Share of the packets of live sources that verify; a source has two.
-- grain: sprint
-- every: sprint
-- window: sprint
-- columns:
--   share: verified / packets, rounded down at the ninth decimal.
SELECT sprint, count(*) AS packets, CAST(sum(verified) AS BIGINT) AS verified,
       CAST(CAST((CAST(sum(verified) AS HUGEINT) * 1000000000) // count(*) AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS share
FROM marketplace.packets
WHERE status = 'live'
GROUP BY sprint
