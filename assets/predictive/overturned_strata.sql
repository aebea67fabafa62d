-- about: Audited and overturned decisions per stratum; a decision is overturned where any finished read says so.
-- grain: sprint, stratum
-- every: sprint
-- window: sprint
WITH decided AS (
    SELECT sprint, stratum, decision_id, max(CASE WHEN verdict = 'overturned' THEN 1 ELSE 0 END) AS overturned
    FROM predictive.audit_reads
    WHERE verdict IS NOT NULL
    GROUP BY sprint, stratum, decision_id
)
SELECT sprint, stratum, count(*) AS judged, CAST(sum(overturned) AS BIGINT) AS overturned
FROM decided
GROUP BY sprint, stratum
