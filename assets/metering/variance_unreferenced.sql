-- about: How many tenant and meter pairs have usage that the gateway log does not know at all.
-- grain: period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   unreferenced: Tenant and meter pairs with usage that the log does not know.
--   pairs: All tenant and meter pairs.
SELECT period, count(*) FILTER (WHERE status = 'unreferenced') AS unreferenced, count(*) AS pairs
FROM metering.variance
WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY period
