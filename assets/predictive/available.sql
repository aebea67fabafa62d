-- about: Tenants for whom the audited product is generally available when the sprint ends.
-- grain: sprint, tenant_id
-- every: sprint
-- window: sprint
WITH stages AS (
    SELECT sprints.sprint, stages.tenant_id, stages.stage,
           row_number() OVER (PARTITION BY sprints.sprint, stages.tenant_id ORDER BY stages.from_utc DESC) AS place
    FROM reference.sprints AS sprints
    JOIN reference.tenant_stages AS stages ON stages.from_utc < sprints.end_utc
    JOIN predictive.settings AS settings ON settings.product = stages.product
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT sprint, tenant_id
FROM stages
WHERE place = 1 AND stage = 'ga'
