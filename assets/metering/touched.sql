-- about: Which local days each landing day's events fall on, or amend, with a digest of them; what goes stale is read from here.
-- grain: landing_day, local_day
-- every: day
-- window: landing_day
-- scope: {metering.readings: through}
WITH arrived AS (
    SELECT landing_day, local_day, event_key, meter
    FROM metering.readings
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND kind = 'usage'
),
amended AS (
    SELECT amendments.landing_day, targets.local_day, amendments.event_key, amendments.meter
    FROM metering.amendments AS amendments
    JOIN metering.readings AS targets ON targets.event_key = amendments.target_key
    WHERE amendments.landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT landing_day, local_day, count(*) AS readings,
       CAST(sum(CAST(md5_number_lower(event_key || meter) AS DECIMAL(38, 0))) AS VARCHAR) AS digest
FROM (SELECT * FROM arrived UNION ALL SELECT * FROM amended)
WHERE local_day IS NOT NULL
GROUP BY landing_day, local_day
