-- about: Mergeable usage states per tenant, meter and local day. A day can be merged with another; its figures alone cannot be added up.
-- grain: tenant_id, meter, dimension, item, day, landing_day, until_day
-- every: day
-- window: day
-- scope: {metering.effective: touched}
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
WITH states AS (
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
    FROM metering.effective AS effective
    JOIN reference.meters AS meters ON meters.meter = effective.meter
    WHERE effective.local_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day, effective.landing_day,
             effective.until_day
),
latest AS (
    -- For meters that bill the latest reading; of one instant, a reading without an ingest time counts as the newest, then the greater id.
    SELECT effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day AS day, effective.landing_day,
           effective.until_day, effective.quantity, effective.ingested_at, effective.id,
           CAST(row_number() OVER (PARTITION BY effective.tenant_id, effective.meter, effective.dimension, effective.item, effective.local_day,
                                                effective.landing_day, effective.until_day
                                   ORDER BY effective.occurred_at DESC NULLS LAST, effective.ingested_at DESC NULLS FIRST,
                                            effective.id DESC NULLS LAST, effective.quantity DESC NULLS LAST) AS BIGINT) AS place
    FROM metering.effective AS effective
    JOIN reference.meters AS meters ON meters.meter = effective.meter AND meters.aggregation = 'latest'
    WHERE effective.local_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT states.tenant_id, states.meter, states.dimension, states.item, states.day, states.landing_day, states.until_day, states.day_end_us,
       states.events, states.quantity_sum, states.quantity_min, states.quantity_max,
       latest.quantity AS latest_quantity, states.latest_at, latest.ingested_at AS latest_ingested_at, latest.id AS latest_id,
       states.level_microseconds
FROM states
LEFT JOIN latest
  ON latest.tenant_id = states.tenant_id AND latest.meter = states.meter AND latest.dimension = states.dimension AND latest.item = states.item
 AND latest.day = states.day AND latest.landing_day = states.landing_day AND latest.until_day = states.until_day AND latest.place = 1
