-- about: Events of a landing day that an earlier landing day brought already; identity holds for ever, so they do not count again.
-- grain: landing_day, event_key
-- every: day
-- window: landing_day
-- scope: {staging.usage_events: through}
-- engine: portable
-- columns:
--   landing_day: Landing day of the copy that does not count.
--   event_key: Digest of tenant, source and id.
WITH arrived AS (
    SELECT landing_day, event_key
    FROM staging.usage_events
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND copy = 1
),
landed AS (
    -- Only the keys that arrived are looked up, so that memory follows the days asked for and not the history.
    SELECT event_key, min(landing_day) AS first_day
    FROM staging.usage_events
    WHERE landing_day <= CAST($last AS DATE) AND copy = 1 AND event_key IN (SELECT event_key FROM arrived)
    GROUP BY event_key
    HAVING count(*) > 1
)
SELECT arrived.landing_day, arrived.event_key
FROM arrived
JOIN landed ON landed.event_key = arrived.event_key AND landed.first_day < arrived.landing_day
ORDER BY arrived.landing_day, arrived.event_key
