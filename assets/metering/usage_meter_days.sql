-- about: Usage per meter and local day over all tenants, as the report shows it.
-- grain: meter, day, period
-- every: month
-- window: period
-- scope: {metering.usage_daily: inside}
-- columns:
--   period: First day of the billing month.
--   meter: Meter.
--   day: Local day in each tenant's zone.
--   events: Events by the cut-off.
--   quantity: Usage of all tenants that day, by the aggregation of the meter.
WITH tenant_days AS (
    SELECT periods.period, daily.tenant_id, daily.meter, daily.dimension, daily.day, any_value(meters.aggregation) AS aggregation,
           sum(daily.events) AS events, sum(daily.quantity_sum) AS summed, count(DISTINCT daily.item) AS items,
           min(daily.quantity_min) AS lowest, max(daily.quantity_max) AS highest
    FROM metering.usage_daily AS daily
    JOIN reference.meters AS meters ON meters.meter = daily.meter
    JOIN reference.periods AS periods
      ON periods.tenant_id = daily.tenant_id AND periods.period = CAST(date_trunc('month', daily.day) AS DATE)
    WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND daily.landing_day <= periods.cutoff_day AND daily.until_day > periods.cutoff_day
    GROUP BY periods.period, daily.tenant_id, daily.meter, daily.dimension, daily.day
)
SELECT period, meter, day, CAST(sum(events) AS BIGINT) AS events,
       CAST(CASE any_value(aggregation) WHEN 'unique_count' THEN sum(items) WHEN 'count' THEN sum(events)
                                        WHEN 'min' THEN min(lowest) WHEN 'max' THEN max(highest) ELSE sum(summed) END AS DECIMAL(38, 9)) AS quantity
FROM tenant_days
GROUP BY period, meter, day
ORDER BY period, meter, day
