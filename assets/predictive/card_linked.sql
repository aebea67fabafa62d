-- about: Each declared surface with what was found there last; linked is 1 where the card of this version answers under its stable link.
-- grain: sprint, surface
-- every: sprint
-- window: sprint
WITH found AS (
    SELECT sprints.sprint, links.surface, links.link, links.card_version, links.status, links.checked_at,
           row_number() OVER (PARTITION BY sprints.sprint, links.surface ORDER BY links.checked_at DESC, links.landing_day DESC, links.link, links.card_version, links.status) AS place
    FROM reference.sprints AS sprints
    JOIN staging.card_links AS links
      ON links.checked_at >= sprints.start_utc AND links.checked_at < CAST(sprints.cutoff_day AS TIMESTAMP) + INTERVAL 1 DAY AND links.landing_day <= sprints.cutoff_day
)
SELECT sprints.sprint, surfaces.surface, found.link, found.card_version, CAST(found.status AS BIGINT) AS status, found.checked_at,
       CAST(CASE WHEN found.status = 200 AND (found.link = surfaces.link OR starts_with(found.link, 'https://') AND ends_with(found.link, '/' || surfaces.link)) AND found.card_version = surfaces.card_version THEN 1 ELSE 0 END AS BIGINT) AS linked
FROM reference.sprints AS sprints
CROSS JOIN predictive.surfaces AS surfaces
LEFT JOIN found ON found.sprint = sprints.sprint AND found.surface = surfaces.surface AND found.place = 1
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
