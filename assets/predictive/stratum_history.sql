-- about: Verdicts on the decisions of the sprint before, by stratum; the deviations that the plan of this sprint rests on.
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
decided AS (
    SELECT before.sprint, decisions.stratum, decisions.decision_id, max(CASE WHEN audits.verdict = 'overturned' THEN 1 ELSE 0 END) AS overturned
    FROM before
    JOIN predictive.decisions AS decisions
      ON decisions.occurred_at >= before.start_utc AND decisions.occurred_at < before.end_utc AND decisions.landing_day <= before.cutoff_day
    JOIN predictive.settings AS settings ON settings.model = decisions.model
    JOIN staging.audits AS audits ON audits.decision_id = decisions.decision_id AND audits.landing_day <= before.cutoff_day
    WHERE audits.verdict IS NOT NULL AND before.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
    GROUP BY before.sprint, decisions.stratum, decisions.decision_id
)
SELECT sprint, stratum, count(*) AS judged, CAST(sum(overturned) AS BIGINT) AS overturned
FROM decided
GROUP BY sprint, stratum
