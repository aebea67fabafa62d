-- about: Rollback rehearsals of the sprint, in which the version before the live one was built again on archived inputs.
-- grain: sprint, rehearsal_id
-- every: sprint
-- window: sprint
-- columns:
--   inputs: Inputs that it was given; of an input that landed more than once the first row counts.
--   differing: Those for which it does not give bit for bit what it gave.
--   unknown: Those that no decision of the version served, so that it never gave anything for them.
--   unproven: Those that differ or are unknown.
--   elapsed_ms: Time of all of them.
WITH copies AS (
    -- Of rows of one day none came first: one that differs is believed.
    SELECT rehearsal_id, model, model_version, inputs_digest, ran_at, elapsed_ms, landing_day, rebuilt_digest <> archived_digest AS differs,
           row_number() OVER (
               PARTITION BY rehearsal_id, inputs_digest
               ORDER BY landing_day, rebuilt_digest = archived_digest, ran_at, model, model_version, elapsed_ms, archived_digest, rebuilt_digest) AS copy
    FROM staging.rehearsals
),
given AS (
    SELECT sprints.sprint, copies.rehearsal_id, copies.model_version, copies.ran_at, copies.elapsed_ms, copies.differs,
           NOT EXISTS (
               SELECT 1
               FROM predictive.decisions AS decisions
               WHERE decisions.inputs_digest = copies.inputs_digest AND decisions.model = copies.model AND decisions.model_version = copies.model_version
                 AND decisions.status = 'ok' AND decisions.landing_day <= sprints.cutoff_day) AS unknown
    FROM reference.sprints AS sprints
    JOIN copies ON copies.ran_at >= sprints.start_utc AND copies.ran_at < sprints.end_utc AND copies.landing_day <= sprints.cutoff_day
    JOIN predictive.live AS live
      ON live.sprint = sprints.sprint AND live.model = copies.model AND live.previous_version = copies.model_version
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND copies.copy = 1
)
SELECT sprint, rehearsal_id, model_version, min(ran_at) AS ran_at, count(*) AS inputs, count(*) FILTER (WHERE differs) AS differing,
       count(*) FILTER (WHERE unknown) AS unknown, count(*) FILTER (WHERE differs OR unknown) AS unproven,
       CAST(sum(elapsed_ms) AS DECIMAL(38, 9)) AS elapsed_ms
FROM given
GROUP BY sprint, rehearsal_id, model_version
