-- about: What the gateway log says per tenant, meter and billing month; never derived from the metered side.
-- grain: tenant_id, meter, period
-- every: month
-- window: period
-- scope: {staging.gateway_log: all}
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant.
--   meter: Meter.
--   log_rows: Rows of the log.
--   rows_with_id: Rows that name the event.
--   quantity: Quantity by the aggregation of the meter.
SELECT periods.period, gateway.tenant_id, gateway.meter,
       count(*) AS log_rows,
       count(gateway.id) AS rows_with_id,
       CAST(CASE any_value(meters.aggregation)
                WHEN 'unique_count' THEN count(DISTINCT gateway.item)
                WHEN 'min' THEN min(gateway.quantity)
                WHEN 'max' THEN max(gateway.quantity)
                ELSE sum(gateway.quantity) END AS DECIMAL(38, 9)) AS quantity
FROM staging.gateway_log AS gateway
JOIN reference.meters AS meters ON meters.meter = gateway.meter
JOIN reference.periods AS periods
  ON periods.tenant_id = gateway.tenant_id
 AND coalesce(gateway.occurred_at, gateway.hour) >= periods.start_utc
 AND coalesce(gateway.occurred_at, gateway.hour) < periods.end_utc
WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY periods.period, gateway.tenant_id, gateway.meter
