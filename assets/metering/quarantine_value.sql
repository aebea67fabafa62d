-- about: How many events of each meter's kind stand in quarantine beside those that count, as what could still be billed.
-- grain: meter, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   meter: Meter.
--   quarantined_events: Refused rows of the kind that the meter counts; a row without a kind counts for each meter.
--   quarantined_quantity: What they would add, as far as it can be read.
--   counted_events: Events that count.
--   value_share: Quarantined over counted events, rounded up at the ninth decimal.
WITH months AS (
    SELECT period, max(cutoff_day) AS cutoff_day
    FROM reference.periods
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period
),
replayed AS (
    -- Rows that were mended and landed again no longer stand in quarantine.
    SELECT replay_of AS landing_day, type, count(*) AS events
    FROM staging.usage_events
    WHERE replay_of IS NOT NULL
    GROUP BY replay_of, type
),
refused_days AS (
    SELECT months.period, meters.meter, meters.type, quarantine.landing_day, count(*) AS events,
           sum(CASE WHEN meters.aggregation = 'sum' THEN coalesce(try_cast(quarantine.quantity_text AS DECIMAL(38, 9)), 0) ELSE 1 END) AS quantity
    FROM months
    JOIN quarantine.usage_events AS quarantine ON quarantine.landing_day BETWEEN months.period AND months.cutoff_day
    JOIN reference.meters AS meters ON quarantine.type IS NULL OR quarantine.type = meters.type
    GROUP BY months.period, meters.meter, meters.type, quarantine.landing_day
),
refused AS (
    SELECT refused_days.period, refused_days.meter,
           sum(greatest(refused_days.events - coalesce(replayed.events, 0), 0)) AS events,
           sum(CASE WHEN refused_days.events > coalesce(replayed.events, 0) THEN refused_days.quantity ELSE 0 END) AS quantity
    FROM refused_days
    LEFT JOIN replayed ON replayed.landing_day = refused_days.landing_day AND replayed.type = refused_days.type
    GROUP BY refused_days.period, refused_days.meter
),
counted AS (
    SELECT period, meter, sum(events) AS events
    FROM metering.usage_period
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY period, meter
)
SELECT counted.period, counted.meter,
       CAST(coalesce(refused.events, 0) AS BIGINT) AS quarantined_events,
       CAST(coalesce(refused.quantity, 0) AS DECIMAL(38, 9)) AS quarantined_quantity,
       CAST(counted.events AS BIGINT) AS counted_events,
       CAST(CAST((CAST(coalesce(refused.events, 0) AS HUGEINT) * 1000000000 + counted.events - 1) // counted.events AS DECIMAL(38, 0))
            * CAST(0.000000001 AS DECIMAL(9, 9)) AS DECIMAL(38, 9)) AS value_share
FROM counted
LEFT JOIN refused ON refused.period = counted.period AND refused.meter = counted.meter
WHERE counted.events > 0
ORDER BY counted.period, counted.meter
