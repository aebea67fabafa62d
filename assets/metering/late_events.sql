-- about: Usage of a month that landed, or was amended, after its tenant's cut-off; kept, reported, and not in this close.
-- grain: tenant_id, meter, landing_day, day, period
-- every: month
-- window: period
-- scope: {metering.usage_daily: inside}
-- columns:
--   period: First day of the billing month that it belongs to.
--   tenant_id: Tenant.
--   meter: Meter.
--   landing_day: "Day on which it landed, or was amended: after the cut-off."
--   day: Local day of the usage.
--   events: Events added, negative where an amendment took them away.
--   quantity: Quantity added or taken away.
WITH moved AS (
    SELECT tenant_id, meter, day, landing_day AS moved_on, events, quantity_sum AS quantity
    FROM metering.usage_daily
    UNION ALL
    -- What an amendment took away, on the day the amendment landed.
    SELECT tenant_id, meter, day, until_day AS moved_on, -events, -quantity_sum
    FROM metering.usage_daily
    WHERE until_day < CAST('9999-12-31' AS DATE)
)
SELECT periods.period, moved.tenant_id, moved.meter, moved.moved_on AS landing_day, moved.day,
       CAST(sum(moved.events) AS BIGINT) AS events, CAST(sum(moved.quantity) AS DECIMAL(38, 9)) AS quantity
FROM moved
JOIN reference.periods AS periods
  ON periods.tenant_id = moved.tenant_id AND periods.period = CAST(date_trunc('month', moved.day) AS DATE)
WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
  AND moved.moved_on > periods.cutoff_day
GROUP BY periods.period, moved.tenant_id, moved.meter, moved.moved_on, moved.day
HAVING sum(moved.events) <> 0 OR sum(moved.quantity) <> 0
ORDER BY periods.period, moved.tenant_id, moved.meter, moved.moved_on, moved.day
