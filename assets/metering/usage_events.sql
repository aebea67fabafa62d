-- about: Every usage event once, for ever, on its tenant's local day; of its copies the first landed counts. Amending events are events of their own.
-- grain: event_key
-- every: day
-- window: landing_day
-- view: true
-- engine: portable
SELECT staged.landing_day, staged.tenant_id, staged.source, staged.id, staged.type, staged.kind,
       staged.amends_source, staged.amends_id, staged.occurred_at, staged.occurred_us, staged.ingested_at,
       local_days.local_day, local_days.end_us AS day_end_us,
       staged.bytes, staged.path, staged.status, staged.context_tokens, staged.generated_tokens, staged.blocks, staged.value,
       staged.event_key, staged.amends_key, staged.extras
FROM staging.usage_events AS staged
JOIN reference.tenants AS tenants ON tenants.tenant_id = staged.tenant_id
JOIN reference.local_days AS local_days
  ON local_days.zone = tenants.zone
 AND local_days.utc_day = CAST(staged.occurred_at AS DATE)
 AND staged.occurred_at >= local_days.start_utc
 AND staged.occurred_at < local_days.end_utc
LEFT JOIN metering.seen_before AS seen_before
  ON seen_before.landing_day = staged.landing_day AND seen_before.event_key = staged.event_key
WHERE staged.copy = 1 AND seen_before.event_key IS NULL
