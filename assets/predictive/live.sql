-- about: The version of each audited model that is live when the sprint ends, and the one that was live before it.
-- grain: sprint, model
-- every: sprint
-- window: sprint
-- columns:
--   sprint: First day of the sprint.
--   model: The model.
--   model_version: The version that the last deployment or rollback before the sprint's end made live.
--   live_since: When, UTC.
--   previous_version: The last other version that was live before; NULL where there was none.
--   rollbacks: Rollbacks within the sprint.
WITH acts AS (
    SELECT DISTINCT sprints.sprint, sprints.start_utc, releases.release_id, releases.model, releases.model_version, releases.event, releases.occurred_at
    FROM reference.sprints AS sprints
    JOIN staging.releases AS releases ON releases.occurred_at < sprints.end_utc AND releases.landing_day <= sprints.cutoff_day
    JOIN predictive.settings AS settings ON settings.model = releases.model
    WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND releases.event IN ('deploy', 'rollback')
),
newest AS (
    SELECT sprint, model, model_version, occurred_at, row_number() OVER (PARTITION BY sprint, model ORDER BY occurred_at DESC, release_id DESC) AS place
    FROM acts
),
live AS (SELECT sprint, model, model_version, occurred_at AS live_since FROM newest WHERE place = 1),
earlier AS (
    SELECT newest.sprint, newest.model, newest.model_version,
           row_number() OVER (PARTITION BY newest.sprint, newest.model ORDER BY newest.place) AS place
    FROM newest
    JOIN live USING (sprint, model)
    WHERE newest.model_version <> live.model_version
),
rolled AS (
    SELECT sprint, model, count(*) AS rollbacks FROM acts WHERE event = 'rollback' AND occurred_at >= start_utc GROUP BY sprint, model
)
SELECT live.sprint, live.model, live.model_version, live.live_since, earlier.model_version AS previous_version,
       CAST(coalesce(rolled.rollbacks, 0) AS BIGINT) AS rollbacks
FROM live
LEFT JOIN earlier ON earlier.sprint = live.sprint AND earlier.model = live.model AND earlier.place = 1
LEFT JOIN rolled ON rolled.sprint = live.sprint AND rolled.model = live.model
