-- about: Completeness of a month's landings per source, and how far the newest landed day lies behind the month's end.
-- grain: source, period
-- every: month
-- window: period
SELECT period, source,
       count(*) FILTER (WHERE expected) AS expected_days,
       count(*) FILTER (WHERE expected AND status = 'landed') AS landed_days,
       count(*) FILTER (WHERE expected AND status = 'missing') AS missing_days,
       CASE WHEN count(*) FILTER (WHERE status = 'landed') > 0
            THEN greatest(0, 24 * (max(day) FILTER (WHERE expected) - max(day) FILTER (WHERE status = 'landed'))) END AS lag_hours
FROM metering.landing_days
WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY period, source
ORDER BY period, source
