-- about: Events sent again with another payload, and ids that two tenants claim; open until somebody decides.
-- grain: kind, tenant_id, source, id, period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   kind: "payload_differs: sent again with another payload; tenant_differs: claimed by two tenants."
--   tenant_id: Tenant; of several the first by name.
--   source: Producer of the event.
--   id: The producer's id of the event.
--   copies: Rows that landed under this id.
--   versions: Different payloads, or tenants, among them.
--   status: open until somebody decides, then settled.
--   choice: "first: the first landed counts; void: none does."
--   reason: Why it was settled so.
--   owner: Who settled it.
WITH sent_again AS (
    -- Few ids come more than once; only those, and what shares a hash with another, are looked at closely.
    SELECT hash(source, id) AS id_hash
    FROM staging.usage_events
    GROUP BY id_hash
    HAVING count(*) > 1
),
candidates AS (
    -- The payload is whatever was sent, the fields that a home's own contract adds too: so it is said what does not belong to it.
    SELECT event_key, tenant_id, source, id, occurred_at, row(*COLUMNS(* EXCLUDE (landing_day, ingested_at, replay_of, copy))) AS payload
    FROM staging.usage_events
    WHERE hash(source, id) IN (SELECT id_hash FROM sent_again)
),
repeated AS (
    SELECT event_key, min(tenant_id) AS tenant_id, min(source) AS source, min(id) AS id,
           min(occurred_at) AS occurred_at, count(*) AS copies, count(DISTINCT payload) AS versions
    FROM candidates
    GROUP BY event_key
    HAVING count(DISTINCT payload) > 1
),
shared AS (
    SELECT min(tenant_id) AS tenant_id, list(DISTINCT tenant_id) AS claimants, source, id,
           min(occurred_at) AS occurred_at, count(*) AS copies, count(DISTINCT tenant_id) AS versions
    FROM candidates
    GROUP BY source, id
    HAVING count(DISTINCT tenant_id) > 1
),
found AS (
    SELECT 'payload_differs' AS kind, [tenant_id] AS claimants, tenant_id, source, id, occurred_at, copies, versions FROM repeated
    UNION ALL
    SELECT 'tenant_differs' AS kind, claimants, tenant_id, source, id, occurred_at, copies, versions FROM shared
)
SELECT periods.period, found.kind, found.tenant_id, found.source, found.id, found.copies, found.versions,
       CASE WHEN choices.choice IS NULL THEN 'open' ELSE 'settled' END AS status,
       choices.choice, choices.reason, choices.owner
FROM found
JOIN reference.periods AS periods
  ON periods.tenant_id = found.tenant_id AND found.occurred_at >= periods.start_utc AND found.occurred_at < periods.end_utc
LEFT JOIN reference.conflict_choices AS choices
  ON list_contains(found.claimants, choices.tenant_id) AND choices.source = found.source AND choices.id = found.id
WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
QUALIFY row_number() OVER (PARTITION BY periods.period, found.kind, found.tenant_id, found.source, found.id ORDER BY choices.tenant_id) = 1
ORDER BY periods.period, found.kind, found.tenant_id, found.source, found.id
