-- about: Usage of a month that landed after its tenant's cut-off; kept, reported, and not in this close.
-- grain: tenant_id, meter, landing_day, day, period
-- every: month
-- window: period
-- scope: {metering.usage_daily: inside}
SELECT periods.period, daily.tenant_id, daily.meter, daily.landing_day, daily.day,
       CAST(sum(daily.events) AS BIGINT) AS events, CAST(sum(daily.quantity_sum) AS DECIMAL(38, 9)) AS quantity
FROM metering.usage_daily AS daily
JOIN reference.periods AS periods
  ON periods.tenant_id = daily.tenant_id AND periods.period = CAST(date_trunc('month', daily.day) AS DATE)
WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
  AND daily.landing_day > periods.cutoff_day
GROUP BY periods.period, daily.tenant_id, daily.meter, daily.landing_day, daily.day
ORDER BY periods.period, daily.tenant_id, daily.meter, daily.landing_day, daily.day
