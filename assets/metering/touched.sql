-- about: Which local days each landing day's events fall on, or amend, with a digest of them; what goes stale is read from here.
-- grain: landing_day, local_day
-- every: day
-- window: landing_day
-- scope: {metering.usage_events: through, metering.amendments: through}
WITH arrived AS (
    SELECT landing_day, local_day,
           hash(event_key, type, bytes, path, status, context_tokens, generated_tokens, blocks, value, extras, occurred_at, ingested_at, day_end_us) AS said
    FROM metering.usage_events
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND kind = 'usage'
),
amended AS (
    -- An amendment touches its target's day once both have landed, whichever came first.
    SELECT greatest(amendments.landing_day, targets.landing_day) AS landing_day, targets.local_day,
           hash(amendments.event_key, amendments.meter, targets.event_key, amendments.dimension, amendments.item, amendments.quantity,
                amendments.ingested_at) AS said
    FROM metering.amendments AS amendments
    JOIN metering.usage_events AS targets ON targets.event_key = amendments.target_key
    WHERE greatest(amendments.landing_day, targets.landing_day) BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT landing_day, local_day, count(*) AS events, CAST(sum(said) AS VARCHAR) AS digest
FROM (SELECT * FROM arrived UNION ALL SELECT * FROM amended)
GROUP BY landing_day, local_day
