-- about: Verdicts on the decisions of the sprint before, by stratum; the deviations that the plan of this sprint rests on. Every verdict that landed counts here, for who was to read is known only once the sample is drawn.
-- grain: sprint, stratum
-- every: sprint
-- window: sprint
-- columns:
--   judged: Decisions of the sprint before with a verdict by its cut-off.
--   overturned: Those that any reader overturned.
WITH before AS (
    SELECT sprint, lag(start_utc) OVER (ORDER BY sprint) AS start_utc, lag(end_utc) OVER (ORDER BY sprint) AS end_utc,
           lag(cutoff_day) OVER (ORDER BY sprint) AS cutoff_day
    FROM reference.sprints
),
-- A worklist puts an apostrophe before an id that a spreadsheet would take for a formula.
given AS (
    SELECT decision_id, landing_day, verdict FROM staging.audits WHERE verdict IS NOT NULL
    UNION ALL
    SELECT substring(decision_id, 2) AS decision_id, landing_day, verdict FROM staging.audits WHERE verdict IS NOT NULL AND starts_with(decision_id, chr(39))
),
decided AS (
    SELECT before.sprint, decisions.stratum, decisions.decision_id, max(CASE WHEN given.verdict = 'overturned' THEN 1 ELSE 0 END) AS overturned
    FROM before
    JOIN predictive.decisions AS decisions
      ON decisions.occurred_at >= before.start_utc AND decisions.occurred_at < before.end_utc AND decisions.landing_day <= before.cutoff_day
    JOIN predictive.settings AS settings ON settings.model = decisions.model
    JOIN given ON given.decision_id = decisions.decision_id AND given.landing_day <= before.cutoff_day
    WHERE before.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY before.sprint, decisions.stratum, decisions.decision_id
)
SELECT sprint, stratum, count(*) AS judged, CAST(sum(overturned) AS BIGINT) AS overturned
FROM decided
GROUP BY sprint, stratum
