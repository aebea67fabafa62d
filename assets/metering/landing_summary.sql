-- about: Completeness of a month's landings per source, and how far the newest landed day lies behind the month's end.
-- grain: source, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   source: Landing source.
--   expected_days: Days that the month needs.
--   landed_days: Of these, days with files that were all read.
--   missing_days: Of these, days without files, and any day with a file that could not be read.
--   lag_hours: Hours from the newest landed day to the month's last day.
SELECT period, source,
       count(*) FILTER (WHERE expected) AS expected_days,
       count(*) FILTER (WHERE expected AND status = 'landed') AS landed_days,
       count(*) FILTER (WHERE status = 'unread' OR (expected AND status = 'missing')) AS missing_days,
       CASE WHEN count(*) FILTER (WHERE status = 'landed') > 0
            THEN greatest(0, 24 * (max(day) FILTER (WHERE expected) - max(day) FILTER (WHERE status = 'landed'))) END AS lag_hours
FROM metering.landing_days
WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY period, source
ORDER BY period, source
