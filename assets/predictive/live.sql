-- about: The version of each audited model that is live when the sprint ends, the one that was live before it, and how often the model went back.
-- grain: sprint, model
-- every: sprint
-- window: sprint
-- columns:
--   sprint: First day of the sprint.
--   model: The model.
--   model_version: The version that the last deployment or rollback before the sprint's end made live.
--   live_since: When, UTC.
--   previous_version: The last other version that was live before; NULL where there was none.
--   rollbacks: Acts that went back and that no earlier sprint has counted; called a rollback, or a deployment of a version that came before the one it replaced.
WITH copies AS (
    SELECT release_id, model, model_version, event, occurred_at, landing_day,
           row_number() OVER (PARTITION BY release_id ORDER BY landing_day, occurred_at, model, model_version, event) AS copy
    FROM staging.releases
),
sprints AS (
    SELECT sprint, start_utc, end_utc, cutoff_day, min(start_utc) OVER () AS judged_since FROM reference.sprints
),
-- What each sprint knows, those before too: an act that landed too late for its own sprint is first known by a later one.
acts AS (
    SELECT sprints.sprint, copies.model, copies.model_version, copies.event, copies.occurred_at, copies.release_id,
           copies.occurred_at >= sprints.judged_since AS judged,
           row_number() OVER (PARTITION BY sprints.sprint, copies.model ORDER BY copies.occurred_at, copies.release_id) AS place
    FROM sprints
    JOIN copies ON copies.occurred_at < sprints.end_utc AND copies.landing_day <= sprints.cutoff_day
    JOIN predictive.settings AS settings ON settings.model = copies.model
    WHERE sprints.sprint <= CAST($last AS DATE) AND copies.copy = 1 AND copies.event IN ('deploy', 'rollback')
),
aged AS (SELECT *, min(place) OVER (PARTITION BY sprint, model, model_version) AS came FROM acts),
followed AS (SELECT *, lag(came) OVER (PARTITION BY sprint, model ORDER BY place) AS replaced_came FROM aged),
went_back AS (
    SELECT model, release_id, min(sprint) AS sprint
    FROM followed
    WHERE judged AND (event = 'rollback' OR came < replaced_came)
    GROUP BY model, release_id
),
counted AS (SELECT sprint, model, count(*) AS rollbacks FROM went_back GROUP BY sprint, model),
live AS (
    SELECT sprint, model, model_version, occurred_at AS live_since
    FROM acts
    QUALIFY row_number() OVER (PARTITION BY sprint, model ORDER BY place DESC) = 1
),
earlier AS (
    SELECT acts.sprint, acts.model, acts.model_version
    FROM acts
    JOIN live ON live.sprint = acts.sprint AND live.model = acts.model AND live.model_version <> acts.model_version
    QUALIFY row_number() OVER (PARTITION BY acts.sprint, acts.model ORDER BY acts.place DESC) = 1
)
SELECT live.sprint, live.model, live.model_version, live.live_since, earlier.model_version AS previous_version,
       CAST(coalesce(counted.rollbacks, 0) AS BIGINT) AS rollbacks
FROM live
LEFT JOIN earlier ON earlier.sprint = live.sprint AND earlier.model = live.model
LEFT JOIN counted ON counted.sprint = live.sprint AND counted.model = live.model
WHERE live.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
