-- about: What every source is on the last day of the sprint, in the sprint's own zone.
-- grain: sprint, source_id
-- every: sprint
-- window: sprint
-- columns:
--   status: live, candidate or retired. A source whose first stage is later has no row.
--   since: First day on which it is that.
SELECT sprints.sprint, sources.source_id, sources.name, sources.partner_id, sources.status, sources.since
FROM reference.sprints AS sprints
JOIN marketplace.sources AS sources
    ON sources.since <= sprints.last_day AND (sources.until IS NULL OR sources.until > sprints.last_day)
WHERE sprints.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
