-- about: Whether the seed of the live version's sample was published before the sprint began.
-- grain: sprint, model
-- every: sprint
-- window: sprint
-- columns:
--   model_version: The version that is live when the sprint ends.
--   published_at: When its seed and settings were signed, UTC; NULL where they never were.
--   before_data: 1 where that was before the sprint began, else 0; NULL where no seed is published.
SELECT live.sprint, live.model, live.model_version, seeds.published_at,
       CAST(CASE WHEN seeds.published_at < sprints.start_utc THEN 1 WHEN seeds.published_at IS NOT NULL THEN 0 END AS BIGINT) AS before_data
FROM predictive.live AS live
JOIN reference.sprints AS sprints ON sprints.sprint = live.sprint
LEFT JOIN predictive.seeds AS seeds ON seeds.sprint = live.sprint AND seeds.model = live.model AND seeds.model_version = live.model_version
WHERE live.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
