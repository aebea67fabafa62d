-- about: Every read that was asked for and what came back by the cut-off.
-- grain: sprint, decision_id, reader
-- every: sprint
-- window: sprint
-- columns:
--   status: completed, late (a verdict after it was due), not_blind (given by the other reader), overdue or open.
--   in_time: 1 where a verdict of the reader came by the due instant.
--   verdict: upheld or overturned; NULL where none counts.
WITH verdicts AS (
    SELECT sprints.sprint, audits.decision_id, audits.reader, audits.auditor, audits.completed_at, audits.verdict,
           row_number() OVER (PARTITION BY sprints.sprint, audits.decision_id, audits.reader
                              ORDER BY audits.completed_at, audits.landing_day, audits.auditor, audits.verdict) AS place
    FROM staging.audits AS audits
    JOIN reference.sprints AS sprints ON audits.landing_day <= sprints.cutoff_day
    WHERE audits.completed_at IS NOT NULL AND sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
given AS (SELECT sprint, decision_id, reader, auditor, completed_at, verdict FROM verdicts WHERE place = 1),
read AS (
    SELECT sample.sprint, sample.decision_id, sample.reader, sample.model_version, sample.stratum, sample.tenant_id, sample.auditor AS assigned,
           sample.due_at, given.auditor, given.completed_at, given.verdict, other.auditor AS other_auditor, sprints.cutoff_day
    FROM predictive.audit_sample AS sample
    JOIN reference.sprints AS sprints ON sprints.sprint = sample.sprint
    LEFT JOIN given ON given.sprint = sample.sprint AND given.decision_id = sample.decision_id AND given.reader = sample.reader
    LEFT JOIN given AS other
      ON other.sprint = sample.sprint AND other.decision_id = sample.decision_id AND other.reader <> sample.reader AND sample.reader = 'second'
    WHERE sample.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
judged AS (
    SELECT *, CASE WHEN verdict IS NULL THEN CASE WHEN due_at < CAST(cutoff_day AS TIMESTAMP) + INTERVAL 1 DAY THEN 'overdue' ELSE 'open' END
                   WHEN auditor = other_auditor THEN 'not_blind'
                   WHEN completed_at > due_at THEN 'late'
                   ELSE 'completed' END AS status
    FROM read
)
SELECT sprint, decision_id, reader, model_version, stratum, tenant_id, assigned, auditor, due_at, completed_at, status,
       CAST(CASE WHEN status = 'completed' THEN 1 ELSE 0 END AS BIGINT) AS in_time,
       CASE WHEN status IN ('completed', 'late') THEN verdict END AS verdict
FROM judged
