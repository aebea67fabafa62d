-- about: What each tenant's close says of its locked months, with how many it was compared, what was late, what was corrected and what was not.
-- grain: tenant_id, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant.
--   locked_months: Other months of the tenant that were locked when this close was made.
--   events: Late events of locked months.
--   corrected: Locked months that are corrected on this invoice.
--   net: Net of these corrections; negative for a credit.
--   tax: Their tax.
--   drifted: Lines of locked months that came out otherwise when their locked inputs were rated again.
--   unrated: Locked months whose late events cannot be rated.
--   too_old: Late events of months that are older than the look-back; reported and not billed.
WITH locked AS (
    SELECT periods.period, locked_tenants.tenant_id, count(*) AS months
    FROM metering.locked_tenants AS locked_tenants
    JOIN reference.periods AS periods ON periods.tenant_id = locked_tenants.tenant_id AND periods.period <> locked_tenants.period
    WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY periods.period, locked_tenants.tenant_id
),
found AS (
    SELECT period, tenant_id, sum(events) AS events, count(*) FILTER (WHERE status = 'corrected') AS corrected,
           sum(CAST(nullif(correction, '') ->> '$.net' AS DECIMAL(38, 9))) AS net,
           sum(CAST(nullif(correction, '') ->> '$.tax' AS DECIMAL(38, 9))) AS tax,
           sum(drifted) AS drifted, count(*) FILTER (WHERE status = 'unrated') AS unrated, sum(events) FILTER (WHERE status = 'too_old') AS too_old
    FROM metering.corrected
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period, tenant_id
)
SELECT periods.period, periods.tenant_id, CAST(coalesce(locked.months, 0) AS BIGINT) AS locked_months,
       CAST(coalesce(found.events, 0) AS BIGINT) AS events, CAST(coalesce(found.corrected, 0) AS BIGINT) AS corrected,
       CAST(coalesce(found.net, 0) AS DECIMAL(38, 9)) AS net, CAST(coalesce(found.tax, 0) AS DECIMAL(38, 9)) AS tax,
       CAST(coalesce(found.drifted, 0) AS BIGINT) AS drifted, CAST(coalesce(found.unrated, 0) AS BIGINT) AS unrated,
       CAST(coalesce(found.too_old, 0) AS BIGINT) AS too_old
FROM reference.periods AS periods
LEFT JOIN locked ON locked.period = periods.period AND locked.tenant_id = periods.tenant_id
LEFT JOIN found ON found.period = periods.period AND found.tenant_id = periods.tenant_id
WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
ORDER BY periods.period, periods.tenant_id
