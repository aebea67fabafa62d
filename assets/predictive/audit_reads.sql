-- about: Every read that was asked for and what came back by the cut-off.
-- grain: sprint, decision_id, reader
-- every: sprint
-- window: sprint
-- columns:
--   listed_as: The decision as worklists write it.
--   assigned: Who is to read it; only that person's verdict counts.
--   status: completed, late (not before it was due), not_assigned (only others answered), impossible (answered only before the decision was taken), overdue or open.
--   in_time: 1 where the verdict came before the due instant.
--   verdict: upheld or overturned; NULL where none counts.
WITH refused AS (
    SELECT sprint, answers AS decision_id, reader, min(standing) AS standing
    FROM predictive.verdicts
    WHERE standing IN ('impossible', 'not_assigned')
    GROUP BY sprint, answers, reader
),
read AS (
    SELECT sample.sprint, sample.decision_id, sample.reader, sample.listed_as, sample.model, sample.model_version, sample.stratum, sample.tenant_id,
           sample.auditor AS assigned, sample.due_at, given.completed_at, given.verdict,
           CASE WHEN given.completed_at < sample.due_at THEN 'completed'
                WHEN given.completed_at IS NOT NULL THEN 'late'
                WHEN refused.standing IS NOT NULL THEN refused.standing
                WHEN sample.due_at < CAST(sprints.cutoff_day AS TIMESTAMP) + INTERVAL 1 DAY THEN 'overdue'
                ELSE 'open' END AS status
    FROM predictive.audit_sample AS sample
    JOIN reference.sprints AS sprints ON sprints.sprint = sample.sprint
    LEFT JOIN predictive.verdicts AS given
      ON given.sprint = sample.sprint AND given.answers = sample.decision_id AND given.reader = sample.reader AND given.standing = 'counts'
    LEFT JOIN refused ON refused.sprint = sample.sprint AND refused.decision_id = sample.decision_id AND refused.reader = sample.reader
    WHERE sample.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT sprint, decision_id, reader, listed_as, model, model_version, stratum, tenant_id, assigned, due_at, completed_at, status,
       CAST(CASE WHEN status = 'completed' THEN 1 ELSE 0 END AS BIGINT) AS in_time, verdict
FROM read
