-- about: How many sources are live on the sprint's last day.
-- grain: sprint
-- every: sprint
-- window: sprint
SELECT sprints.sprint, count(standing.source_id) AS live
FROM reference.sprints AS sprints
LEFT JOIN marketplace.standing AS standing ON standing.sprint = sprints.sprint AND standing.status = 'live'
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY sprints.sprint
