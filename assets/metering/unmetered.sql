-- about: Rows that were accepted and that no declared meter counts, per source; they are in no total and no variance.
-- grain: source, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   source: Landing source.
--   accepted: Accepted rows of the month.
--   unmetered: Of these, rows that no meter counts.
--   names: Their event types, or the meters that the gateway names, in order.
WITH found AS (
    SELECT periods.period, 'usage_events' AS source, events.type AS name, count(*) AS rows, count(any_meter.type) AS metered
    FROM metering.usage_events AS events
    JOIN reference.periods AS periods
      ON periods.tenant_id = events.tenant_id AND events.occurred_at >= periods.start_utc AND events.occurred_at < periods.end_utc
    LEFT JOIN (SELECT DISTINCT type FROM reference.meters) AS any_meter ON any_meter.type = events.type
    WHERE events.kind = 'usage' AND periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY periods.period, events.type
    UNION ALL
    SELECT periods.period, 'gateway_log' AS source, log.meter AS name, count(*) AS rows, count(meters.meter) AS metered
    FROM staging.gateway_log AS log
    JOIN reference.periods AS periods
      ON periods.tenant_id = log.tenant_id AND coalesce(log.occurred_at, log.hour) >= periods.start_utc
     AND coalesce(log.occurred_at, log.hour) < periods.end_utc
    LEFT JOIN reference.meters AS meters ON meters.meter = log.meter
    WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY periods.period, log.meter
)
SELECT period, source, CAST(sum(rows) AS BIGINT) AS accepted, CAST(sum(rows - metered) AS BIGINT) AS unmetered,
       left(coalesce(string_agg(name, ', ' ORDER BY name) FILTER (WHERE metered < rows), ''), 240) AS names
FROM found
GROUP BY period, source
ORDER BY period, source
