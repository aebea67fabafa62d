-- about: How many sources are live at the sprint's end.
-- grain: sprint
-- every: sprint
-- window: sprint
SELECT sprints.sprint, count(sources.source_id) AS live
FROM reference.sprints AS sprints
LEFT JOIN marketplace.sources AS sources ON sources.status = 'live' AND sources.since < sprints.end_utc
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY sprints.sprint
