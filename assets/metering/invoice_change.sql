-- about: The net of every tenant's invoice beside that of the month before.
-- grain: tenant_id, period
-- every: month
-- window: period
-- scope: {metering.invoices: through}
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant that is billed.
--   plan: Plan held last in the month, or in the month before where there is no invoice any more.
--   currency: Currency of the amounts, ISO 4217.
--   before: Net of the invoice of the month before; NULL where there was none.
--   before_currency: Currency of before where it is another one; NULL elsewhere.
--   now: Net of this month's invoice; NULL where there is none any more.
--   change: Now less before, either counted as 0 where there is none; NULL where the currency changed.
--   status: first, gone, currency_changed, from_zero or compared.
--   change_ratio: "Size of the change over before. By status: 0 for first, 1 for gone, currency_changed and from_zero."
WITH standing AS (
    SELECT period, tenant_id, plan, currency, net FROM metering.invoices
    WHERE status = 'rated' AND period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
earlier AS (
    SELECT CAST(period + INTERVAL 1 MONTH AS DATE) AS period, tenant_id, plan, currency, net FROM metering.invoices
    WHERE status = 'rated' AND CAST(period + INTERVAL 1 MONTH AS DATE) BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
blocked AS (
    SELECT period, tenant_id FROM metering.invoices WHERE status = 'blocked' AND period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
paired AS (
    SELECT coalesce(standing.period, earlier.period) AS period, coalesce(standing.tenant_id, earlier.tenant_id) AS tenant_id,
           coalesce(standing.plan, earlier.plan) AS plan, coalesce(standing.currency, earlier.currency) AS currency,
           earlier.net AS before, CASE WHEN earlier.currency <> standing.currency THEN earlier.currency END AS before_currency, standing.net AS now,
           CASE WHEN earlier.net IS NULL THEN 'first'
                WHEN standing.net IS NULL THEN 'gone'
                WHEN earlier.currency <> standing.currency THEN 'currency_changed'
                WHEN earlier.net = 0 AND standing.net <> 0 THEN 'from_zero'
                ELSE 'compared' END AS status
    FROM standing
    FULL JOIN earlier ON earlier.period = standing.period AND earlier.tenant_id = standing.tenant_id
),
sized AS (
    SELECT paired.*, CASE WHEN status <> 'currency_changed' THEN coalesce(now, 0) - coalesce(before, 0) END AS change FROM paired
    WHERE NOT EXISTS (SELECT 1 FROM blocked WHERE blocked.period = paired.period AND blocked.tenant_id = paired.tenant_id)
)
SELECT period, tenant_id, plan, currency, CAST(before AS DECIMAL(38, 9)) AS before, before_currency, CAST(now AS DECIMAL(38, 9)) AS now,
       CAST(change AS DECIMAL(38, 9)) AS change, status,
       CAST(CASE WHEN status = 'first' OR change = 0 THEN 0
                 WHEN status <> 'compared' THEN 1
                 ELSE CAST(CASE WHEN greatest(abs(change), abs(before)) < 10000000000000000000
                      THEN (CAST(abs(change) * 1000000000 AS HUGEINT) * 1000000000 + CAST(abs(before) * 1000000000 AS HUGEINT) - 1) // CAST(abs(before) * 1000000000 AS HUGEINT)
                      ELSE (CAST(ceil(abs(change)) AS HUGEINT) * 1000000000 + CAST(floor(greatest(abs(before), 1)) AS HUGEINT) - 1) // CAST(floor(greatest(abs(before), 1)) AS HUGEINT) END
                      AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9)) END
            AS DECIMAL(38, 9)) AS change_ratio
FROM sized
ORDER BY period, tenant_id
