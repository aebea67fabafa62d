-- about: Events that void or replace another, with what they put in its place (a void contributes nothing); events settled as void too.
-- grain: event_key, meter, dimension, item
-- every: day
-- window: landing_day
SELECT landing_day, tenant_id, event_key, target_key, kind, ingested_at, meter, dimension, item, quantity, id
FROM metering.readings
WHERE kind <> 'usage'
  AND landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
UNION ALL
SELECT DISTINCT settled.landing_day, settled.tenant_id, -settled.event_key AS event_key, settled.event_key AS target_key,
       'void' AS kind, settled.ingested_at, '' AS meter, '' AS dimension, '' AS item, CAST(0 AS DECIMAL(38, 9)) AS quantity, settled.id
FROM metering.readings AS settled
JOIN reference.conflict_choices AS choices
  ON choices.tenant_id = settled.tenant_id AND choices.source = settled.source AND choices.id = settled.id AND choices.choice = 'void'
WHERE settled.kind = 'usage'
  AND settled.landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
