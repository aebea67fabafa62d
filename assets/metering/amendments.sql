-- about: Events that void or replace another, with what they put in its place (a void contributes nothing).
-- grain: event_key, meter, dimension, item
-- every: day
-- window: landing_day
SELECT landing_day, tenant_id, event_key, target_key, kind, ingested_at, meter, dimension, item, quantity, id
FROM metering.readings
WHERE kind <> 'usage'
  AND landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
