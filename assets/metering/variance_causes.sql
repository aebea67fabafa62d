-- about: Why metered and gateway differ, split by joining ids; where the log has no ids, by hour. The quantities add up to the difference.
-- grain: tenant_id, meter, cause, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant.
--   meter: Meter.
--   cause: missing, extra, duplicate, amended, period_differs, value_differs or, without ids, hourly.
--   rows: Ids, or hours, with this cause.
--   quantity: Their part of the difference, signed; the parts add up to delta.
--   sample: One id, or hour, to look at.
WITH pairs AS (
    SELECT variance.period, variance.tenant_id, variance.meter, variance.delta, meters.aggregation,
           periods.start_utc, periods.end_utc, periods.cutoff_day,
           CASE WHEN meters.aggregation NOT IN ('count', 'sum', 'unique_count') THEN 'value'  -- no sum of events explains an average or a peak
                WHEN gateway.rows_with_id > 0 OR meters.aggregation = 'unique_count' OR gateway.period IS NULL THEN 'id'
                ELSE 'hour' END AS method
    FROM metering.variance AS variance
    JOIN reference.meters AS meters ON meters.meter = variance.meter
    JOIN reference.periods AS periods ON periods.tenant_id = variance.tenant_id AND periods.period = variance.period
    LEFT JOIN metering.gateway_period AS gateway
      ON gateway.period = variance.period AND gateway.tenant_id = variance.tenant_id AND gateway.meter = variance.meter
    WHERE variance.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND (variance.delta <> 0 OR gateway.rows_with_id > 0)
),
last_amendment AS (
    -- The one that stood at the cut-off, as in the close.
    SELECT spans.period, amendments.target_key, amendments.event_key AS amendment_key
    FROM metering.amendments AS amendments
    JOIN (SELECT DISTINCT period, tenant_id, cutoff_day FROM pairs) AS spans
      ON spans.tenant_id = amendments.tenant_id AND amendments.landing_day <= spans.cutoff_day
    QUALIFY row_number() OVER (PARTITION BY spans.period, amendments.target_key
                               ORDER BY amendments.landing_day DESC, amendments.ingested_at DESC NULLS LAST, amendments.event_key DESC) = 1
),
targets AS (
    SELECT DISTINCT event_key, id, occurred_at, landing_day
    FROM metering.readings
    WHERE kind = 'usage' AND event_key IN (SELECT target_key FROM last_amendment)
),
metered_rows AS (
    SELECT pairs.period, readings.tenant_id, readings.meter, pairs.aggregation, pairs.method,
           CASE WHEN pairs.aggregation = 'unique_count' THEN readings.item ELSE readings.id END AS match_id,
           readings.occurred_at,
           CASE WHEN last_amendment.target_key IS NULL THEN readings.quantity ELSE 0 END AS effective,
           last_amendment.target_key IS NOT NULL AS amended,
           readings.occurred_at >= pairs.start_utc AND readings.occurred_at < pairs.end_utc AND readings.landing_day <= pairs.cutoff_day AS inside
    FROM metering.readings AS readings
    JOIN pairs ON pairs.tenant_id = readings.tenant_id AND pairs.meter = readings.meter AND pairs.method <> 'value'
    LEFT JOIN last_amendment ON last_amendment.period = pairs.period AND last_amendment.target_key = readings.event_key
    WHERE readings.kind = 'usage'
    UNION ALL
    SELECT pairs.period, amendments.tenant_id, amendments.meter, pairs.aggregation, pairs.method,
           CASE WHEN pairs.aggregation = 'unique_count' THEN amendments.item ELSE targets.id END AS match_id,
           targets.occurred_at, amendments.quantity AS effective, true AS amended,
           targets.occurred_at >= pairs.start_utc AND targets.occurred_at < pairs.end_utc AND targets.landing_day <= pairs.cutoff_day AS inside
    FROM last_amendment
    JOIN metering.amendments AS amendments ON amendments.event_key = last_amendment.amendment_key AND amendments.kind = 'replace'
    JOIN targets ON targets.event_key = last_amendment.target_key
    JOIN pairs ON pairs.period = last_amendment.period AND pairs.tenant_id = amendments.tenant_id AND pairs.meter = amendments.meter
     AND pairs.method <> 'value'
),
metered AS (
    SELECT period, tenant_id, meter, match_id,
           bool_or(inside) AS inside,
           CASE WHEN any_value(aggregation) = 'unique_count' THEN bool_and(amended) FILTER (WHERE inside)
                ELSE bool_or(amended) FILTER (WHERE inside) END AS amended,
           min(occurred_at) AS occurred_at, any_value(aggregation) AS aggregation,
           CASE WHEN any_value(aggregation) = 'unique_count' THEN CASE WHEN bool_or(inside AND effective <> 0) THEN 1 ELSE 0 END
                ELSE coalesce(sum(effective) FILTER (WHERE inside), 0) END AS quantity
    FROM metered_rows
    WHERE method = 'id'
    GROUP BY period, tenant_id, meter, match_id
),
gateway AS (
    SELECT pairs.period, log.tenant_id, log.meter,
           CASE WHEN pairs.aggregation = 'unique_count' THEN log.item ELSE log.id END AS match_id,
           bool_or(coalesce(log.occurred_at, log.hour) >= pairs.start_utc AND coalesce(log.occurred_at, log.hour) < pairs.end_utc) AS inside,
           count(*) FILTER (WHERE coalesce(log.occurred_at, log.hour) >= pairs.start_utc AND coalesce(log.occurred_at, log.hour) < pairs.end_utc) AS copies,
           CASE WHEN any_value(pairs.aggregation) = 'unique_count'
                THEN CASE WHEN bool_or(coalesce(log.occurred_at, log.hour) >= pairs.start_utc AND coalesce(log.occurred_at, log.hour) < pairs.end_utc)
                          THEN 1 ELSE 0 END
                ELSE coalesce(sum(log.quantity) FILTER (WHERE coalesce(log.occurred_at, log.hour) >= pairs.start_utc
                                                          AND coalesce(log.occurred_at, log.hour) < pairs.end_utc), 0) END AS quantity
    FROM staging.gateway_log AS log
    JOIN pairs ON pairs.tenant_id = log.tenant_id AND pairs.meter = log.meter AND pairs.method = 'id'
    WHERE pairs.aggregation <> 'unique_count' OR log.item IS NOT NULL
    GROUP BY pairs.period, log.tenant_id, log.meter, CASE WHEN pairs.aggregation = 'unique_count' THEN log.item ELSE log.id END
),
joined AS (
    SELECT coalesce(metered.period, gateway.period) AS period,
           coalesce(metered.tenant_id, gateway.tenant_id) AS tenant_id,
           coalesce(metered.meter, gateway.meter) AS meter,
           coalesce(metered.match_id, gateway.match_id) AS match_id,
           coalesce(metered.inside, false) AS in_metered, coalesce(gateway.inside, false) AS in_gateway,
           metered.match_id IS NOT NULL AS known_metered, gateway.match_id IS NOT NULL AS known_gateway,
           coalesce(metered.amended, false) AS amended, coalesce(gateway.copies, 0) AS copies,
           metered.occurred_at, metered.aggregation, metered.quantity AS metered_quantity,
           coalesce(metered.quantity, 0) - coalesce(gateway.quantity, 0) AS delta,
           coalesce(gateway.quantity, 0) AS reference_quantity
    FROM metered
    FULL JOIN gateway
      ON gateway.period = metered.period AND gateway.tenant_id = metered.tenant_id AND gateway.meter = metered.meter AND gateway.match_id = metered.match_id
),
differing AS (
    SELECT joined.*,
           CASE WHEN amended THEN 'amended'
                WHEN in_metered AND in_gateway AND copies > 1 AND metered_quantity * copies = reference_quantity THEN 'duplicate'
                WHEN in_metered AND in_gateway THEN 'value_differs'
                WHEN in_gateway AND known_metered THEN 'period_differs'
                WHEN in_gateway THEN 'missing'
                WHEN in_metered AND known_gateway THEN 'period_differs'
                WHEN joined.aggregation <> 'unique_count'  -- items of one event share its instant and are no copies
                     AND EXISTS (SELECT 1 FROM joined AS twin
                             WHERE twin.period = joined.period AND twin.tenant_id = joined.tenant_id AND twin.meter = joined.meter
                               AND twin.occurred_at = joined.occurred_at AND twin.metered_quantity = joined.metered_quantity
                               AND twin.in_metered AND twin.in_gateway) THEN 'duplicate'
                ELSE 'extra' END AS cause
    FROM joined
    WHERE delta <> 0
),
by_id AS (
    SELECT period, tenant_id, meter, cause, count(*) AS rows, CAST(sum(delta) AS DECIMAL(38, 9)) AS quantity,
           min(match_id) AS sample
    FROM differing
    GROUP BY period, tenant_id, meter, cause
),
hours_metered AS (
    SELECT period, tenant_id, meter, date_trunc('hour', occurred_at) AS hour, sum(effective) AS quantity
    FROM metered_rows
    WHERE method = 'hour' AND inside
    GROUP BY period, tenant_id, meter, date_trunc('hour', occurred_at)
),
hours_gateway AS (
    SELECT pairs.period, log.tenant_id, log.meter, log.hour, sum(log.quantity) AS quantity
    FROM staging.gateway_log AS log
    JOIN pairs ON pairs.tenant_id = log.tenant_id AND pairs.meter = log.meter AND pairs.method = 'hour'
    WHERE coalesce(log.occurred_at, log.hour) >= pairs.start_utc AND coalesce(log.occurred_at, log.hour) < pairs.end_utc
    GROUP BY pairs.period, log.tenant_id, log.meter, log.hour
),
by_hour AS (
    SELECT coalesce(m.period, g.period) AS period, coalesce(m.tenant_id, g.tenant_id) AS tenant_id, coalesce(m.meter, g.meter) AS meter, 'hourly' AS cause,
           count(*) AS rows, CAST(sum(coalesce(m.quantity, 0) - coalesce(g.quantity, 0)) AS DECIMAL(38, 9)) AS quantity,
           min(strftime(coalesce(m.hour, g.hour), '%Y-%m-%dT%H:00Z')) AS sample
    FROM hours_metered AS m
    FULL JOIN hours_gateway AS g ON g.period = m.period AND g.tenant_id = m.tenant_id AND g.meter = m.meter AND g.hour = m.hour
    WHERE coalesce(m.quantity, 0) <> coalesce(g.quantity, 0)
    GROUP BY 1, 2, 3
)
SELECT period, tenant_id, meter, cause, rows, quantity, sample FROM by_id
UNION ALL
SELECT period, tenant_id, meter, cause, rows, quantity, sample FROM by_hour
UNION ALL
SELECT period, tenant_id, meter, 'value_differs' AS cause, 1 AS rows, CAST(delta AS DECIMAL(38, 9)) AS quantity, CAST(NULL AS VARCHAR) AS sample
FROM pairs
WHERE method = 'value' AND delta <> 0
ORDER BY period, tenant_id, meter, cause
