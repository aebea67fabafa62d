-- about: Metered usage against the gateway log per tenant and meter, signed and absolute, with what explains a breach.
-- grain: tenant_id, meter, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant.
--   meter: Meter.
--   metered: Quantity that was metered.
--   reference: Quantity that the gateway log shows.
--   delta: Metered less reference.
--   absolute: Size of the difference.
--   variance_ratio: Difference over the reference or the meter's floor, whichever is greater, rounded up at the ninth decimal; NULL where the log knows nothing.
--   status: unreferenced, within_floor (of quantity, or once priced of one minor unit of money), explained, unsigned (explained, and signed by nobody) or judged.
--   currency: Currency of the tenant's invoice; NULL where it has none.
--   delta_money: What the difference is worth, rounded up at the ninth decimal.
--   judged_ratio: "The ratio that the gate judges: 0 where the difference is within the floor or explained and signed."
--   explained_reason: Why somebody accepts the difference.
--   explained_note: What they wrote.
--   explained_owner: Who accepts it.
--   explained_until: Last landing day on which the explanation holds.
--   explained_by: Person who signed the explanation; NULL where nobody has.
WITH metered AS (
    SELECT period, tenant_id, meter, CAST(sum(quantity) AS DECIMAL(38, 9)) AS quantity
    FROM metering.usage_period
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period, tenant_id, meter
),
paired AS (
    SELECT coalesce(metered.period, gateway.period) AS period,
           coalesce(metered.tenant_id, gateway.tenant_id) AS tenant_id,
           coalesce(metered.meter, gateway.meter) AS meter,
           coalesce(metered.quantity, 0) AS metered,
           coalesce(gateway.quantity, 0) AS reference
    FROM metered
    FULL JOIN (SELECT period, tenant_id, meter, quantity FROM metering.gateway_period
               WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)) AS gateway
      ON gateway.period = metered.period AND gateway.tenant_id = metered.tenant_id AND gateway.meter = metered.meter
),
measured AS (
    SELECT paired.*, meters.floor, metered - reference AS delta, abs(metered - reference) AS absolute,
           greatest(abs(reference), meters.floor) AS denominator, priced.currency, priced.delta_money,
           abs(metered - reference) <= meters.floor OR coalesce(priced.delta_money <= priced.minor_unit, false) AS tiny
    FROM paired
    JOIN reference.meters AS meters ON meters.meter = paired.meter
    LEFT JOIN metering.variance_priced AS priced
      ON priced.period = paired.period AND priced.tenant_id = paired.tenant_id AND priced.meter = paired.meter
),
judged AS (
    -- Whole numbers, rounded up at the ninth decimal: a breach never rounds away, and no float is involved. Beyond 10^19, where the product
    -- would not fit, the difference is rounded up and the denominator down before.
    SELECT measured.*,
           CASE WHEN reference = 0 AND metered > measured.floor THEN NULL
                ELSE CAST(CASE WHEN greatest(absolute, denominator) < 10000000000000000000
                      THEN (CAST(absolute * 1000000000 AS HUGEINT) * 1000000000 + CAST(denominator * 1000000000 AS HUGEINT) - 1) // CAST(denominator * 1000000000 AS HUGEINT)
                      ELSE (CAST(ceil(absolute) AS HUGEINT) * 1000000000 + CAST(floor(greatest(denominator, 1)) AS HUGEINT) - 1) // CAST(floor(greatest(denominator, 1)) AS HUGEINT) END
                      AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) END AS ratio
    FROM measured
)
SELECT judged.period, judged.tenant_id, judged.meter,
       CAST(judged.metered AS DECIMAL(38, 9)) AS metered,
       CAST(judged.reference AS DECIMAL(38, 9)) AS reference,
       CAST(judged.delta AS DECIMAL(38, 9)) AS delta,
       CAST(judged.absolute AS DECIMAL(38, 9)) AS absolute,
       CAST(judged.ratio AS DECIMAL(38, 9)) AS variance_ratio,
       CASE WHEN judged.ratio IS NULL THEN 'unreferenced'
            WHEN judged.tiny THEN 'within_floor'
            WHEN explained.signed_by IS NOT NULL THEN 'explained'
            WHEN explained.reason IS NOT NULL THEN 'unsigned'
            ELSE 'judged' END AS status,
       judged.currency, judged.delta_money,
       CAST(CASE WHEN judged.ratio IS NULL OR judged.tiny OR explained.signed_by IS NOT NULL THEN 0 ELSE judged.ratio END
            AS DECIMAL(38, 9)) AS judged_ratio,
       explained.reason AS explained_reason, explained.note AS explained_note, explained.owner AS explained_owner, explained.expires AS explained_until,
       explained.signed_by AS explained_by
FROM judged
JOIN reference.periods AS periods ON periods.tenant_id = judged.tenant_id AND periods.period = judged.period
LEFT JOIN reference.explained AS explained
  ON explained.tenant_id = judged.tenant_id AND explained.meter = judged.meter AND explained.period = judged.period
 AND explained.expires >= periods.cutoff_day
ORDER BY judged.period, judged.tenant_id, judged.meter
