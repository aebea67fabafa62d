-- about: Rows in against rows accepted and quarantined per source; what is in neither is unaccounted for.
-- grain: source, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   source: Landing source.
--   rows_in: Lines that landed by the cut-off.
--   accepted: Rows that met the contract.
--   quarantined: Rows that were refused.
--   quarantined_share: Quarantined over rows in, rounded up at the ninth decimal.
--   unaccounted: Rows in neither; anything but 0 is a defect.
WITH months AS (
    SELECT period, max(cutoff_day) AS cutoff_day
    FROM reference.periods
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period
),
files AS (
    SELECT 'usage_events' AS source, landing_day, sum(rows_in) AS rows_in FROM landing.usage_events GROUP BY landing_day
    UNION ALL
    SELECT 'gateway_log', landing_day, sum(rows_in) FROM landing.gateway_log GROUP BY landing_day
),
accepted AS (
    SELECT 'usage_events' AS source, landing_day, count(*) AS rows FROM staging.usage_events GROUP BY landing_day
    UNION ALL
    SELECT 'gateway_log', landing_day, count(*) FROM staging.gateway_log GROUP BY landing_day
),
refused AS (
    SELECT 'usage_events' AS source, landing_day, count(*) AS rows FROM quarantine.usage_events GROUP BY landing_day
    UNION ALL
    SELECT 'gateway_log', landing_day, count(*) FROM quarantine.gateway_log GROUP BY landing_day
),
counted AS (
    SELECT months.period, files.source,
           CAST(sum(files.rows_in) AS BIGINT) AS rows_in,
           CAST(sum(coalesce(accepted.rows, 0)) AS BIGINT) AS accepted,
           CAST(sum(coalesce(refused.rows, 0)) AS BIGINT) AS quarantined
    FROM months
    JOIN files ON files.landing_day BETWEEN months.period AND months.cutoff_day
    LEFT JOIN accepted ON accepted.source = files.source AND accepted.landing_day = files.landing_day
    LEFT JOIN refused ON refused.source = files.source AND refused.landing_day = files.landing_day
    GROUP BY months.period, files.source
)
SELECT period, source, rows_in, accepted, quarantined,
       CAST(CAST((CAST(quarantined AS HUGEINT) * 1000000000 + rows_in - 1) // rows_in AS DECIMAL(38, 0)) * CAST(0.000000001 AS DECIMAL(9, 9))
            AS DECIMAL(38, 9)) AS quarantined_share,
       rows_in - accepted - quarantined AS unaccounted
FROM counted
WHERE rows_in > 0
ORDER BY period, source
