-- about: Variance in money per currency, as the sum of what all differences are worth, so that plus and minus do not cancel, with the net beside it.
-- grain: currency, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   currency: Currency of the amounts, ISO 4217. Amounts of two currencies are never added.
--   tenants: Tenants that are billed in it.
--   reference_money: What the reference is worth.
--   absolute_money: Sum of the sizes of what the differences are worth.
--   net_money: Sum of what they are worth with their signs; positive where more was metered than the reference shows.
--   explained_money: The part of absolute that somebody explained.
--   variance_ratio: Absolute over reference, rounded up at the ninth decimal; NULL where there is a difference and no reference.
WITH totals AS (
    SELECT priced.period, priced.currency, count(DISTINCT priced.tenant_id) AS tenants, sum(priced.reference_money) AS reference,
           sum(priced.delta_money) AS absolute, sum(CASE WHEN variance.delta < 0 THEN -priced.delta_money ELSE priced.delta_money END) AS net,
           coalesce(sum(priced.delta_money) FILTER (WHERE variance.status = 'explained'), 0) AS explained
    FROM metering.variance_priced AS priced
    JOIN metering.variance AS variance
      ON variance.period = priced.period AND variance.tenant_id = priced.tenant_id AND variance.meter = priced.meter
    WHERE priced.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND variance.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY priced.period, priced.currency
)
SELECT period, currency, tenants,
       CAST(reference AS DECIMAL(38, 9)) AS reference_money,
       CAST(absolute AS DECIMAL(38, 9)) AS absolute_money,
       CAST(net AS DECIMAL(38, 9)) AS net_money,
       CAST(explained AS DECIMAL(38, 9)) AS explained_money,
       CAST(CASE WHEN absolute = 0 THEN 0
                 WHEN reference > 0
                 THEN CAST(CASE WHEN greatest(absolute, reference) < 10000000000000000000
                      THEN (CAST(absolute * 1000000000 AS HUGEINT) * 1000000000 + CAST(reference * 1000000000 AS HUGEINT) - 1) // CAST(reference * 1000000000 AS HUGEINT)
                      ELSE (CAST(ceil(absolute) AS HUGEINT) * 1000000000 + CAST(floor(greatest(reference, 1)) AS HUGEINT) - 1) // CAST(floor(greatest(reference, 1)) AS HUGEINT) END
                      AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) END
            AS DECIMAL(38, 9)) AS variance_ratio
FROM totals
ORDER BY period, currency
