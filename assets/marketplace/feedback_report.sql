-- about: The feedback report of the sprint; it is published with the attempt, once a partner has said anything.
-- grain: sprint
-- every: sprint
-- window: sprint
SELECT sprint, CAST(sum(remarks) AS BIGINT) AS remarks, count(*) AS issues, CAST(1 AS BIGINT) AS published
FROM marketplace.issues
GROUP BY sprint
