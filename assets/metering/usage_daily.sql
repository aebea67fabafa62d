-- about: Mergeable usage states per tenant, meter and local day. A day can be merged with another; its figures alone cannot be added up.
-- grain: tenant_id, meter, dimension, item, day, landing_day
-- every: day
-- window: day
-- scope: {metering.readings: touched, metering.amendments: touched}
-- engine: portable
WITH last_amendment AS (
    -- Of several amendments of one event the last landed stands.
    SELECT target_key, event_key AS amendment_key
    FROM metering.amendments
    QUALIFY row_number() OVER (PARTITION BY target_key ORDER BY landing_day DESC, ingested_at DESC, event_key DESC) = 1
),
counted AS (
    SELECT tenant_id, meter, dimension, item, local_day, day_end_us, landing_day, occurred_at, occurred_us, ingested_at, id, quantity, event_key
    FROM metering.readings
    WHERE kind = 'usage' AND local_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
standing AS (
    SELECT counted.tenant_id, counted.meter, counted.dimension, counted.item, counted.local_day, counted.day_end_us, counted.landing_day,
           counted.occurred_at, counted.occurred_us, counted.ingested_at, counted.id, counted.quantity
    FROM counted
    LEFT JOIN last_amendment ON last_amendment.target_key = counted.event_key
    WHERE last_amendment.target_key IS NULL
),
targets AS (
    SELECT DISTINCT counted.event_key, counted.local_day, counted.day_end_us, counted.occurred_at, counted.occurred_us, last_amendment.amendment_key
    FROM counted
    JOIN last_amendment ON last_amendment.target_key = counted.event_key
),
replaced AS (
    SELECT amendments.tenant_id, amendments.meter, amendments.dimension, amendments.item, targets.local_day, targets.day_end_us, amendments.landing_day,
           targets.occurred_at, targets.occurred_us, amendments.ingested_at, amendments.id, amendments.quantity
    FROM targets
    JOIN metering.amendments AS amendments ON amendments.event_key = targets.amendment_key
    WHERE amendments.kind = 'replace'
),
effective AS (
    SELECT * FROM standing
    UNION ALL
    SELECT * FROM replaced
)
SELECT effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day AS day, effective.landing_day,
       max(effective.day_end_us) AS day_end_us,
       count(*) AS events,
       CAST(sum(effective.quantity) AS DECIMAL(38, 9)) AS quantity_sum,
       min(effective.quantity) AS quantity_min,
       max(effective.quantity) AS quantity_max,
       max_by(effective.quantity, (effective.occurred_at, effective.ingested_at, effective.id)) AS latest_quantity,
       max(effective.occurred_at) AS latest_at,
       max_by(effective.ingested_at, (effective.occurred_at, effective.ingested_at, effective.id)) AS latest_ingested_at,
       max_by(effective.id, (effective.occurred_at, effective.ingested_at, effective.id)) AS latest_id,
       CAST(sum(CASE WHEN meters.aggregation = 'weighted_sum'
                     THEN CAST(effective.quantity AS DECIMAL(20, 9)) * CAST(effective.day_end_us - effective.occurred_us AS DECIMAL(17, 0)) END)
            AS DECIMAL(38, 9)) AS level_microseconds
FROM effective
JOIN reference.meters AS meters ON meters.meter = effective.meter
GROUP BY effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day, effective.landing_day
