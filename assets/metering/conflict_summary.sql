-- about: Open and settled conflicts of a month, counted also where there are none.
-- grain: period
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   open_conflicts: Conflicts that nobody has decided.
--   settled_conflicts: Conflicts that are decided.
--   events_examined: Accepted events of the month.
SELECT landing.period,
       (SELECT count(*) FROM metering.conflicts AS conflicts WHERE conflicts.period = landing.period AND conflicts.status = 'open') AS open_conflicts,
       (SELECT count(*) FROM metering.conflicts AS conflicts WHERE conflicts.period = landing.period AND conflicts.status = 'settled') AS settled_conflicts,
       landing.accepted AS events_examined
FROM metering.quarantine_summary AS landing
WHERE landing.source = 'usage_events'
  AND landing.accepted > 0
  AND landing.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
