-- about: Which local days each landing day's events fall on, or amend, with a digest of them; what goes stale is read from here.
-- grain: landing_day, local_day
-- every: day
-- window: landing_day
-- scope: {metering.usage_events: through, metering.amendments: through}
WITH arrived AS (
    SELECT landing_day, local_day, concat_ws(chr(31), event_key, payload_digest, day_end_us, ingested_at) AS said
    FROM metering.usage_events
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND kind = 'usage'
),
amended AS (
    -- An amendment touches its target's day once both have landed, whichever came first.
    SELECT greatest(amendments.landing_day, targets.landing_day) AS landing_day, targets.local_day,
           concat_ws(chr(31), amendments.event_key, amendments.meter, targets.event_key, amendments.dimension, amendments.item, amendments.quantity,
                     amendments.ingested_at) AS said
    FROM metering.amendments AS amendments
    JOIN metering.usage_events AS targets ON targets.event_key = amendments.target_key
    WHERE greatest(amendments.landing_day, targets.landing_day) BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT landing_day, local_day, count(*) AS events,
       CAST(sum(CAST(md5_number(said) & 4611686018427387903 AS DECIMAL(38, 0))) AS VARCHAR) AS digest
FROM (SELECT * FROM arrived UNION ALL SELECT * FROM amended)
GROUP BY landing_day, local_day
