-- about: Every usage event once, for ever; of its copies the first landed counts. Amending events are events of their own.
-- grain: event_key
-- every: day
-- window: landing_day
-- scope: {staging.usage_events: through}
-- engine: portable
WITH staged AS (
    SELECT landing_day, tenant_id, source, id, type, kind, amends_source, amends_id, occurred_at, occurred_us, ingested_at,
           bytes, path, status, context_tokens, generated_tokens, blocks, value, event_key, payload_digest
    FROM staging.usage_events
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
repeated AS (
    -- Few events come more than once: only those are put in order, the others pass.
    SELECT event_key
    FROM staged
    GROUP BY event_key
    HAVING count(*) > 1
),
copies AS (
    SELECT landing_day, tenant_id, source, id, type, kind, amends_source, amends_id, occurred_at, occurred_us, ingested_at,
           bytes, path, status, context_tokens, generated_tokens, blocks, value, event_key, payload_digest,
           CAST(row_number() OVER (PARTITION BY event_key
                                   ORDER BY landing_day NULLS LAST, ingested_at NULLS LAST, payload_digest NULLS LAST) AS BIGINT) AS copy
    FROM staged
    WHERE event_key IN (SELECT event_key FROM repeated)
),
arrived AS (
    SELECT landing_day, tenant_id, source, id, type, kind, amends_source, amends_id, occurred_at, occurred_us, ingested_at,
           bytes, path, status, context_tokens, generated_tokens, blocks, value, event_key, payload_digest
    FROM staged
    WHERE event_key NOT IN (SELECT event_key FROM repeated)
    UNION ALL
    SELECT landing_day, tenant_id, source, id, type, kind, amends_source, amends_id, occurred_at, occurred_us, ingested_at,
           bytes, path, status, context_tokens, generated_tokens, blocks, value, event_key, payload_digest
    FROM copies
    WHERE copy = 1
),
seen_before AS (
    -- Only the keys that arrived are looked up, so that memory follows the days asked for and not the history.
    SELECT DISTINCT event_key
    FROM staging.usage_events
    WHERE landing_day < CAST($first AS DATE)
      AND event_key IN (SELECT event_key FROM staged)
)
SELECT arrived.landing_day, arrived.tenant_id, arrived.source, arrived.id, arrived.type, arrived.kind,
       arrived.amends_source, arrived.amends_id, arrived.occurred_at, arrived.occurred_us, arrived.ingested_at,
       local_days.local_day, local_days.end_us AS day_end_us,
       arrived.bytes, arrived.path, arrived.status, arrived.context_tokens, arrived.generated_tokens, arrived.blocks, arrived.value,
       arrived.event_key, arrived.payload_digest
FROM arrived
JOIN reference.tenants AS tenants ON tenants.tenant_id = arrived.tenant_id
LEFT JOIN reference.local_days AS local_days
       ON local_days.zone = tenants.zone
      AND local_days.utc_day = CAST(arrived.occurred_at AS DATE)
      AND arrived.occurred_at >= local_days.start_utc
      AND arrived.occurred_at < local_days.end_utc
LEFT JOIN seen_before ON seen_before.event_key = arrived.event_key
WHERE seen_before.event_key IS NULL
