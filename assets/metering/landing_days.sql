-- about: Every landing day that a month needs per source, with rows in, accepted, quarantined, or missing.
-- grain: source, day, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   source: Landing source.
--   day: Landing day.
--   expected: Whether the month is incomplete without it; days of grace are not expected.
--   rows_in: Lines in them.
--   accepted: Rows that met the contract.
--   quarantined: Rows that were refused.
--   status: landed, missing, unread where a file of the day was left for the next look, or none for a day of grace without files.
WITH months AS (
    SELECT DISTINCT period, CAST(period + INTERVAL 1 MONTH AS DATE) AS ends, max(cutoff_day) AS cutoff_day
    FROM reference.periods
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period
),
days AS (
    SELECT months.period, sources.source, CAST(step.day AS DATE) AS day, CAST(step.day AS DATE) < months.ends AS expected
    FROM months
    CROSS JOIN reference.sources AS sources
    CROSS JOIN LATERAL unnest(generate_series(greatest(months.period, sources.start), months.cutoff_day, INTERVAL 1 DAY)) AS step(day)
    WHERE sources.deliverable = 'metering' AND sources.daily
),
facts AS (
    SELECT 'usage_events' AS source, landing_day, file, rows_in, accepted, quarantined, left_because FROM landing.usage_events
    UNION ALL
    SELECT 'gateway_log' AS source, landing_day, file, rows_in, accepted, quarantined, left_because FROM landing.gateway_log
)
-- How many files a day landed as is no column: the same rows split otherwise must give the same bytes.
SELECT days.period, days.source, days.day, days.expected,
       CAST(coalesce(sum(facts.rows_in), 0) AS BIGINT) AS rows_in,
       CAST(coalesce(sum(facts.accepted), 0) AS BIGINT) AS accepted,
       CAST(coalesce(sum(facts.quarantined), 0) AS BIGINT) AS quarantined,
       CASE WHEN count(facts.left_because) > 0 THEN 'unread' WHEN count(facts.file) > 0 THEN 'landed' WHEN days.expected THEN 'missing' ELSE 'none' END AS status
FROM days
LEFT JOIN facts ON facts.source = days.source AND facts.landing_day = days.day
GROUP BY days.period, days.source, days.day, days.expected
ORDER BY days.period, days.source, days.day
