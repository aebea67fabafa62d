-- about: Every verdict that landed for a sprint, which read of its sample it answers, and whether it counts; none vanishes.
-- grain: sprint, landing_day, decision_id, reader, auditor, completed_at, verdict
-- every: sprint
-- window: sprint
-- columns:
--   decision_id: As it landed, perhaps with the apostrophe that a worklist puts before what a spreadsheet would take for a formula.
--   answers: The sampled decision whose read it answers; NULL where the sample asks for no such read.
--   assigned: Who is to read that.
--   standing: counts, later (that person's read has landed before), impossible (given before the decision was taken), not_assigned (by another person) or unmatched (the sample asks for no such read).
WITH landed AS (
    SELECT DISTINCT sprints.sprint, audits.landing_day, audits.decision_id, audits.reader, audits.auditor, audits.completed_at, audits.verdict
    FROM staging.audits AS audits
    JOIN reference.sprints AS sprints ON audits.landing_day <= sprints.cutoff_day
    WHERE audits.verdict IS NOT NULL AND sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
-- A read is known by the name on its worklist, and by its plain one where that is no other's on a worklist.
named AS (
    SELECT sprint, reader, listed_as AS name, decision_id, auditor, occurred_at, 1 AS preference FROM predictive.audit_sample
    UNION ALL
    SELECT sprint, reader, decision_id AS name, decision_id, auditor, occurred_at, 2 AS preference FROM predictive.audit_sample
),
asked AS (
    SELECT sprint, reader, name, decision_id, auditor, occurred_at
    FROM named
    QUALIFY row_number() OVER (PARTITION BY sprint, reader, name ORDER BY preference) = 1
),
-- A verdict on a decision of another sprint, landed while that one still takes verdicts, is that one's.
plain AS (
    SELECT DISTINCT sprint, landing_day, decision_id, decision_id AS taken FROM landed
    UNION
    SELECT DISTINCT sprint, landing_day, decision_id, substring(decision_id, 2) AS taken FROM landed WHERE starts_with(decision_id, chr(39))
),
elsewhere AS (
    SELECT DISTINCT plain.sprint, plain.landing_day, plain.decision_id
    FROM plain
    JOIN predictive.decisions AS decisions ON decisions.decision_id = plain.taken
    JOIN reference.sprints AS other
      ON decisions.occurred_at >= other.start_utc AND decisions.occurred_at < other.end_utc
      AND plain.landing_day >= other.sprint AND plain.landing_day <= other.cutoff_day
    WHERE other.sprint <> plain.sprint
),
judged AS (
    SELECT landed.*, asked.decision_id AS answers, asked.auditor AS assigned,
           CASE WHEN asked.decision_id IS NULL THEN 'unmatched' WHEN landed.auditor <> asked.auditor THEN 'not_assigned'
                WHEN landed.completed_at < asked.occurred_at THEN 'impossible' ELSE 'counts' END AS standing
    FROM landed
    LEFT JOIN asked ON asked.sprint = landed.sprint AND asked.reader = landed.reader AND asked.name = landed.decision_id
    LEFT JOIN elsewhere
      ON elsewhere.sprint = landed.sprint AND elsewhere.landing_day = landed.landing_day AND elsewhere.decision_id = landed.decision_id
    WHERE asked.decision_id IS NOT NULL OR (landed.landing_day >= landed.sprint AND elsewhere.sprint IS NULL)
),
placed AS (
    SELECT *, row_number() OVER (PARTITION BY sprint, answers, reader, standing ORDER BY landing_day, completed_at, verdict, decision_id) AS place
    FROM judged
)
SELECT sprint, landing_day, decision_id, reader, auditor, completed_at, verdict, answers, assigned,
       CASE WHEN standing = 'counts' AND place > 1 THEN 'later' ELSE standing END AS standing
FROM placed
