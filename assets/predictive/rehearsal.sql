-- about: Rollback rehearsals of the sprint, in which the version before the live one was built again on archived inputs.
-- grain: sprint, rehearsal_id
-- every: sprint
-- window: sprint
-- columns:
--   inputs: Archived inputs that it was given.
--   differing: Those for which it does not give bit for bit what it gave.
--   elapsed_ms: Time of all of them.
SELECT sprints.sprint, rehearsals.rehearsal_id, rehearsals.model_version, min(rehearsals.ran_at) AS ran_at,
       count(DISTINCT rehearsals.inputs_digest) AS inputs,
       count(DISTINCT rehearsals.inputs_digest) FILTER (WHERE rehearsals.rebuilt_digest <> rehearsals.archived_digest) AS differing,
       CAST(sum(rehearsals.elapsed_ms) AS DECIMAL(38, 9)) AS elapsed_ms
FROM reference.sprints AS sprints
JOIN staging.rehearsals AS rehearsals
  ON rehearsals.ran_at >= sprints.start_utc AND rehearsals.ran_at < sprints.end_utc AND rehearsals.landing_day <= sprints.cutoff_day
JOIN predictive.live AS live
  ON live.sprint = sprints.sprint AND live.model = rehearsals.model AND live.previous_version = rehearsals.model_version
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY sprints.sprint, rehearsals.rehearsal_id, rehearsals.model_version
