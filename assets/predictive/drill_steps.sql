-- about: The steps of every drill that ran in the sprint.
-- grain: sprint, drill_id, step
-- every: sprint
-- window: sprint
WITH copies AS (
    SELECT sprints.sprint, drills.drill_id, drills.playbook, drills.ran_at, CAST(drills.step AS BIGINT) AS step, drills.action, drills.started_at,
           drills.finished_at, drills.outcome, drills.alert, drills.decision,
           row_number() OVER (PARTITION BY sprints.sprint, drills.drill_id, drills.step
                              ORDER BY drills.landing_day, drills.outcome, drills.finished_at, drills.started_at, drills.ran_at, drills.playbook,
                                       drills.action, drills.alert, drills.decision) AS copy
    FROM reference.sprints AS sprints
    JOIN staging.drills AS drills
      ON drills.ran_at >= sprints.start_utc AND drills.ran_at < sprints.end_utc AND drills.landing_day <= sprints.cutoff_day
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
)
SELECT sprint, drill_id, playbook, ran_at, step, action, started_at, finished_at, outcome, alert, decision
FROM copies
WHERE copy = 1
