-- about: What counts of each reading, and from which landing day until which; an amendment puts its own reading in its target's place.
-- grain: tenant_id, meter, dimension, item, id, landing_day, until_day
-- every: day
-- window: landing_day
-- view: true
-- engine: portable
WITH targets AS (
    SELECT DISTINCT event_key, local_day, day_end_us, landing_day, occurred_at, occurred_us
    FROM metering.readings
    WHERE kind = 'usage' AND event_key IN (SELECT target_key FROM metering.amendments)
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
)
SELECT readings.tenant_id, readings.meter, readings.dimension, readings.item, readings.local_day, readings.day_end_us, readings.landing_day,
       coalesce(amended.until_day, CAST('9999-12-31' AS DATE)) AS until_day,
       readings.occurred_at, readings.occurred_us, readings.ingested_at, readings.id, readings.quantity
FROM metering.readings AS readings
LEFT JOIN amended ON amended.target_key = readings.event_key
WHERE readings.kind = 'usage' AND (amended.until_day IS NULL OR amended.until_day > readings.landing_day)
UNION ALL
SELECT amendments.tenant_id, amendments.meter, amendments.dimension, amendments.item, steps.local_day, steps.day_end_us, steps.from_day AS landing_day,
       steps.until_day, steps.occurred_at, steps.occurred_us, amendments.ingested_at, amendments.id, amendments.quantity
FROM steps
JOIN metering.amendments AS amendments ON amendments.event_key = steps.amendment_key
WHERE amendments.kind = 'replace' AND steps.until_day > steps.from_day
