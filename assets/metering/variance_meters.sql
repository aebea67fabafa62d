-- about: Variance per meter over all tenants, as the sum of absolute differences, so that plus and minus do not cancel, with the net beside it.
-- grain: meter, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   meter: Meter.
--   metered: Metered quantity of all tenants.
--   reference: Quantity of all tenants in the gateway log.
--   absolute: Sum of the sizes of the differences per tenant.
--   net: Sum of the signed differences.
--   variance_ratio: Absolute over reference, rounded up at the ninth decimal; NULL where there is no reference.
WITH totals AS (
    SELECT period, meter, sum(metered) AS metered, sum(reference) AS reference, sum(absolute) AS absolute, sum(delta) AS net
    FROM metering.variance
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period, meter
)
SELECT period, meter,
       CAST(metered AS DECIMAL(38, 9)) AS metered,
       CAST(reference AS DECIMAL(38, 9)) AS reference,
       CAST(absolute AS DECIMAL(38, 9)) AS absolute,
       CAST(net AS DECIMAL(38, 9)) AS net,
       CAST(CASE WHEN reference > 0
                 THEN CAST(CASE WHEN greatest(absolute, reference) < 10000000000000000000
                      THEN (CAST(absolute * 1000000000 AS HUGEINT) * 1000000000 + CAST(reference * 1000000000 AS HUGEINT) - 1) // CAST(reference * 1000000000 AS HUGEINT)
                      ELSE (CAST(ceil(absolute) AS HUGEINT) * 1000000000 + CAST(floor(greatest(reference, 1)) AS HUGEINT) - 1) // CAST(floor(greatest(reference, 1)) AS HUGEINT) END
                      AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) END
            AS DECIMAL(38, 9)) AS variance_ratio
FROM totals
ORDER BY period, meter
