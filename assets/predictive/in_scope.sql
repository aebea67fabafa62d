-- about: Decisions that may be sampled in a sprint; served within it by the version that is live at its end, for tenants with general availability.
-- grain: sprint, decision_id
-- every: day
-- window: landing_day
-- view: true
-- engine: portable
SELECT decisions.landing_day, sprints.sprint, decisions.decision_id, decisions.tenant_id, decisions.model, decisions.model_version, decisions.stratum, decisions.occurred_at
FROM predictive.decisions AS decisions
JOIN reference.sprints AS sprints
  ON decisions.occurred_at >= sprints.start_utc AND decisions.occurred_at < sprints.end_utc AND decisions.landing_day <= sprints.cutoff_day
JOIN predictive.live AS live ON live.sprint = sprints.sprint AND live.model = decisions.model AND live.model_version = decisions.model_version
JOIN predictive.available AS available ON available.sprint = sprints.sprint AND available.tenant_id = decisions.tenant_id
WHERE decisions.status = 'ok'
