-- about: Why rows were refused, per source and reason, with one sample.
-- grain: source, reason, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   source: Landing source.
--   reason: The rules that the row broke.
--   rows: Rows refused for exactly these.
--   first_day: First landing day with one.
--   last_day: Last landing day with one.
--   sample: The first 240 characters of one such row.
WITH months AS (
    SELECT period, max(cutoff_day) AS cutoff_day
    FROM reference.periods
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period
),
refused AS (
    SELECT source, landing_day, reasons, raw FROM quarantine.usage_events
    UNION ALL
    SELECT source, landing_day, reasons, raw FROM quarantine.gateway_log
)
SELECT months.period, refused.source, refused.reasons AS reason, count(*) AS rows,
       min(refused.landing_day) AS first_day, max(refused.landing_day) AS last_day, left(min(refused.raw), 240) AS sample
FROM months
JOIN refused ON refused.landing_day BETWEEN months.period AND months.cutoff_day
GROUP BY months.period, refused.source, refused.reasons
ORDER BY months.period, refused.source, refused.reasons
