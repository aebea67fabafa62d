-- about: The decisions that a sprint's audits read; in each stratum the planned number of the lowest digests under the seed published for sprint, model and version.
-- grain: sprint, decision_id
-- every: sprint
-- window: sprint
-- engine: portable
-- columns:
--   sprint: First day of the sprint.
--   place: Place of the decision's digest within its stratum, from 1.
--   digest: sha256 of seed, unit separator and decision.
WITH digests AS (
    SELECT scope.sprint, scope.decision_id, scope.model, scope.model_version, scope.stratum, scope.tenant_id, scope.occurred_at,
           plan.planned,
           sha256(seeds.seed || chr(31) || scope.decision_id) AS digest
    FROM predictive.in_scope AS scope
    JOIN predictive.seeds AS seeds ON seeds.sprint = scope.sprint AND seeds.model = scope.model AND seeds.model_version = scope.model_version
    JOIN predictive.audit_plan AS plan
      ON plan.sprint = scope.sprint AND plan.model = scope.model AND plan.model_version = scope.model_version AND plan.stratum = scope.stratum
    WHERE scope.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
),
-- Sorting every decision of a stratum is most of the cost, so only digests below the prefix at which the planned number is reached are sorted.
counted AS (
    SELECT sprint, model, model_version, stratum, planned, substring(digest, 1, 4) AS prefix, count(*) AS decisions
    FROM digests
    GROUP BY sprint, model, model_version, stratum, planned, substring(digest, 1, 4)
),
summed AS (
    SELECT sprint, model, model_version, stratum, planned, prefix, decisions,
           sum(decisions) OVER (PARTITION BY sprint, model, model_version, stratum ORDER BY prefix NULLS LAST) AS decisions_so_far
    FROM counted
),
placed AS (
    SELECT digests.sprint, digests.decision_id, digests.model, digests.model_version, digests.stratum, digests.tenant_id, digests.occurred_at,
           digests.planned, digests.digest,
           CAST(row_number() OVER (PARTITION BY digests.sprint, digests.model, digests.model_version, digests.stratum
                                   ORDER BY digests.digest NULLS LAST, digests.decision_id NULLS LAST) AS BIGINT) AS place
    FROM digests
    JOIN summed
      ON summed.sprint = digests.sprint AND summed.model = digests.model AND summed.model_version = digests.model_version AND summed.stratum = digests.stratum
      AND summed.prefix = substring(digests.digest, 1, 4) AND summed.decisions_so_far - summed.decisions < summed.planned
)
SELECT sprint, decision_id, model, model_version, stratum, tenant_id, occurred_at, place, digest
FROM placed
WHERE place <= planned
