-- about: Each declared playbook with its drills of the sprint; a drill passes with every declared step done and none failed.
-- grain: sprint, playbook
-- every: sprint
-- window: sprint
-- columns:
--   drills: Drills that ran.
--   passed: Those that passed.
WITH drills AS (
    SELECT steps.sprint, steps.playbook, steps.drill_id,
           CASE WHEN count(*) FILTER (WHERE steps.outcome <> 'passed') = 0 AND count(*) >= max(playbooks.steps) AND max(steps.step) = count(*)
                THEN 1 ELSE 0 END AS passed
    FROM predictive.drill_steps AS steps
    JOIN predictive.playbooks AS playbooks ON playbooks.playbook = steps.playbook
    GROUP BY steps.sprint, steps.playbook, steps.drill_id
)
SELECT sprints.sprint, playbooks.playbook, count(drills.drill_id) AS drills, CAST(coalesce(sum(drills.passed), 0) AS BIGINT) AS passed
FROM reference.sprints AS sprints
CROSS JOIN predictive.playbooks AS playbooks
LEFT JOIN drills ON drills.sprint = sprints.sprint AND drills.playbook = playbooks.playbook
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
GROUP BY sprints.sprint, playbooks.playbook
