-- about: Why metered and gateway differ, split by joining ids; where the log has no ids, by hour. The quantities add up to the difference.
-- grain: tenant_id, meter, cause, period
-- every: month
-- window: period
WITH pairs AS (
    SELECT variance.period, variance.tenant_id, variance.meter, meters.aggregation, periods.start_utc, periods.end_utc, periods.cutoff_day,
           gateway.rows_with_id > 0 OR meters.aggregation = 'unique_count' OR gateway.period IS NULL AS has_ids
    FROM metering.variance AS variance
    JOIN reference.meters AS meters ON meters.meter = variance.meter
    JOIN reference.periods AS periods ON periods.tenant_id = variance.tenant_id AND periods.period = variance.period
    LEFT JOIN metering.gateway_period AS gateway
      ON gateway.period = variance.period AND gateway.tenant_id = variance.tenant_id AND gateway.meter = variance.meter
    WHERE variance.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND (variance.delta <> 0 OR gateway.rows_with_id > 0)
),
last_amendment AS (
    SELECT target_key, event_key AS amendment_key
    FROM metering.amendments
    QUALIFY row_number() OVER (PARTITION BY target_key ORDER BY landing_day DESC, ingested_at DESC, event_key DESC) = 1
),
replacements AS (
    SELECT last_amendment.target_key, amendments.meter, sum(amendments.quantity) AS quantity
    FROM last_amendment
    JOIN metering.amendments AS amendments ON amendments.event_key = last_amendment.amendment_key AND amendments.kind = 'replace'
    GROUP BY last_amendment.target_key, amendments.meter
),
metered_rows AS (
    SELECT pairs.period, readings.tenant_id, readings.meter,
           CASE WHEN pairs.aggregation = 'unique_count' THEN readings.item ELSE readings.id END AS match_id,
           readings.occurred_at, readings.quantity,
           CASE WHEN last_amendment.target_key IS NULL THEN readings.quantity ELSE coalesce(replacements.quantity, 0) END AS effective,
           last_amendment.target_key IS NOT NULL AS amended,
           readings.occurred_at >= pairs.start_utc AND readings.occurred_at < pairs.end_utc AND readings.landing_day <= pairs.cutoff_day AS inside,
           pairs.aggregation
    FROM metering.readings AS readings
    JOIN pairs ON pairs.tenant_id = readings.tenant_id AND pairs.meter = readings.meter AND pairs.has_ids
    LEFT JOIN last_amendment ON last_amendment.target_key = readings.event_key
    LEFT JOIN replacements ON replacements.target_key = readings.event_key AND replacements.meter = readings.meter
    WHERE readings.kind = 'usage'
),
metered AS (
    SELECT period, tenant_id, meter, match_id,
           bool_or(inside) AS inside,
           bool_or(amended) FILTER (WHERE inside) AS amended,
           min(occurred_at) AS occurred_at,
           CASE WHEN any_value(aggregation) = 'unique_count' THEN CASE WHEN bool_or(inside AND effective <> 0) THEN 1 ELSE 0 END
                ELSE coalesce(sum(effective) FILTER (WHERE inside), 0) END AS quantity
    FROM metered_rows
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
    JOIN pairs ON pairs.tenant_id = log.tenant_id AND pairs.meter = log.meter AND pairs.has_ids
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
           metered.occurred_at, metered.quantity AS metered_quantity,
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
                WHEN EXISTS (SELECT 1 FROM joined AS twin
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
    SELECT pairs.period, readings.tenant_id, readings.meter, date_trunc('hour', readings.occurred_at) AS hour, sum(readings.quantity) AS quantity
    FROM metering.readings AS readings
    JOIN pairs ON pairs.tenant_id = readings.tenant_id AND pairs.meter = readings.meter AND NOT pairs.has_ids
    LEFT JOIN last_amendment ON last_amendment.target_key = readings.event_key
    WHERE readings.kind = 'usage' AND last_amendment.target_key IS NULL
      AND readings.occurred_at >= pairs.start_utc AND readings.occurred_at < pairs.end_utc AND readings.landing_day <= pairs.cutoff_day
    GROUP BY pairs.period, readings.tenant_id, readings.meter, date_trunc('hour', readings.occurred_at)
),
hours_gateway AS (
    SELECT pairs.period, log.tenant_id, log.meter, log.hour, sum(log.quantity) AS quantity
    FROM staging.gateway_log AS log
    JOIN pairs ON pairs.tenant_id = log.tenant_id AND pairs.meter = log.meter AND NOT pairs.has_ids
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
ORDER BY period, tenant_id, meter, cause
