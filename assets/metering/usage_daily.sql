-- about: Mergeable usage states per tenant, meter and local day. A day can be merged with another; its figures alone cannot be added up.
-- grain: tenant_id, meter, dimension, item, day, landing_day, until_day
-- every: day
-- window: day
-- scope: {metering.readings: touched, metering.amendments: touched}
-- engine: portable
-- columns:
--   tenant_id: Tenant whose usage it is.
--   meter: Meter that counts it.
--   dimension: Canonical JSON of the meter's dimensions; empty text where it has none.
--   item: The item of a unique_count meter; empty text for every other.
--   day: Local day in the tenant's zone.
--   landing_day: "Day from which the figures stand: the landing of the event, or of the amendment that made them."
--   until_day: Landing day of the amendment that ended them; 9999-12-31 where none did.
--   day_end_us: End of the local day, in microseconds since 1970 UTC.
--   events: Events counted.
--   quantity_sum: Sum of their quantities.
--   quantity_min: Smallest quantity.
--   quantity_max: Largest quantity.
--   latest_quantity: Quantity of the last event by event time, ingest time and id.
--   latest_at: Instant of the last event, UTC.
--   latest_ingested_at: When the producer took the last event in, UTC.
--   latest_id: Id of the last event.
--   level_microseconds: "For weighted_sum: quantity times the microseconds from the event to the end of its day."
WITH counted AS (
    SELECT tenant_id, meter, dimension, item, local_day, day_end_us, landing_day, occurred_at, occurred_us, ingested_at, id, quantity, event_key
    FROM metering.readings
    WHERE kind = 'usage' AND local_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
targets AS (
    SELECT DISTINCT event_key, local_day, day_end_us, landing_day, occurred_at, occurred_us
    FROM counted
    WHERE event_key IN (SELECT target_key FROM metering.amendments)
),
amending AS (
    SELECT DISTINCT target_key, event_key AS amendment_key, landing_day, ingested_at
    FROM metering.amendments
),
steps AS (
    -- Each amendment stands from its landing day (or its target's, if later) until the next: a close reads what stood at its cut-off.
    SELECT amending.target_key, amending.amendment_key, targets.local_day, targets.day_end_us, targets.occurred_at, targets.occurred_us,
           greatest(amending.landing_day, targets.landing_day) AS from_day,
           lead(greatest(amending.landing_day, targets.landing_day), 1, CAST('9999-12-31' AS DATE))
               OVER (PARTITION BY amending.target_key
                     ORDER BY amending.landing_day NULLS LAST, amending.ingested_at NULLS FIRST, amending.amendment_key NULLS LAST) AS until_day
    FROM amending
    JOIN targets ON targets.event_key = amending.target_key
),
amended AS (
    SELECT target_key, min(from_day) AS until_day
    FROM steps
    GROUP BY target_key
),
effective AS (
    SELECT counted.tenant_id, counted.meter, counted.dimension, counted.item, counted.local_day, counted.day_end_us, counted.landing_day,
           coalesce(amended.until_day, CAST('9999-12-31' AS DATE)) AS until_day,
           counted.occurred_at, counted.occurred_us, counted.ingested_at, counted.id, counted.quantity
    FROM counted
    LEFT JOIN amended ON amended.target_key = counted.event_key
    WHERE amended.until_day IS NULL OR amended.until_day > counted.landing_day
    UNION ALL
    SELECT amendments.tenant_id, amendments.meter, amendments.dimension, amendments.item, steps.local_day, steps.day_end_us, steps.from_day,
           steps.until_day,
           steps.occurred_at, steps.occurred_us, amendments.ingested_at, amendments.id, amendments.quantity
    FROM steps
    JOIN metering.amendments AS amendments ON amendments.event_key = steps.amendment_key
    WHERE amendments.kind = 'replace' AND steps.until_day > steps.from_day
),
states AS (
    SELECT effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day AS day, effective.landing_day,
           effective.until_day,
           max(effective.day_end_us) AS day_end_us,
           count(*) AS events,
           CAST(sum(effective.quantity) AS DECIMAL(38, 9)) AS quantity_sum,
           min(effective.quantity) AS quantity_min,
           max(effective.quantity) AS quantity_max,
           max(effective.occurred_at) AS latest_at,
           CAST(sum(CASE WHEN meters.aggregation = 'weighted_sum'
                         THEN CAST(effective.quantity AS DECIMAL(20, 9)) * CAST(effective.day_end_us - effective.occurred_us AS DECIMAL(17, 0)) END)
                AS DECIMAL(38, 9)) AS level_microseconds
    FROM effective
    JOIN reference.meters AS meters ON meters.meter = effective.meter
    GROUP BY effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day, effective.landing_day,
             effective.until_day
),
latest AS (
    -- For meters that bill the latest reading. Only the rows of the last instant are put in order: a reading without an ingest time counts as the newest, then the greater id.
    SELECT states.tenant_id, states.meter, states.dimension, states.item, states.day, states.landing_day, states.until_day,
           effective.quantity, effective.ingested_at, effective.id,
           CAST(row_number() OVER (PARTITION BY states.tenant_id, states.meter, states.dimension, states.item, states.day, states.landing_day,
                                                states.until_day
                                   ORDER BY effective.ingested_at DESC NULLS FIRST, effective.id DESC NULLS LAST,
                                            effective.quantity DESC NULLS LAST) AS BIGINT) AS place
    FROM states
    JOIN reference.meters AS meters ON meters.meter = states.meter AND meters.aggregation = 'latest'
    JOIN effective
      ON effective.tenant_id = states.tenant_id AND effective.meter = states.meter AND effective.dimension = states.dimension
     AND effective.item = states.item AND effective.local_day = states.day AND effective.landing_day = states.landing_day
     AND effective.until_day = states.until_day AND effective.occurred_at = states.latest_at
)
SELECT states.tenant_id, states.meter, states.dimension, states.item, states.day, states.landing_day, states.until_day, states.day_end_us,
       states.events, states.quantity_sum, states.quantity_min, states.quantity_max,
       latest.quantity AS latest_quantity, states.latest_at, latest.ingested_at AS latest_ingested_at, latest.id AS latest_id,
       states.level_microseconds
FROM states
LEFT JOIN latest
  ON latest.tenant_id = states.tenant_id AND latest.meter = states.meter AND latest.dimension = states.dimension AND latest.item = states.item
 AND latest.day = states.day AND latest.landing_day = states.landing_day AND latest.until_day = states.until_day AND latest.place = 1
