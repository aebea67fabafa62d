-- about: Whether the sprint's feedback report is published, and as the tables make it at the cut-off.
-- grain: sprint
-- every: sprint
-- window: sprint
-- columns:
--   remarks: Forms of partners until the cut-off.
--   issues: Issues that they are about.
--   edition: Number of the published edition; NULL where none is.
--   current: 1 where that edition says what the tables say.
--   published: 1 where a current edition is published.
SELECT drafts.sprint, drafts.remarks, drafts.issues, editions.edition, editions.entry, editions.published_at,
       CAST(CASE WHEN editions.content = drafts.content THEN 1 WHEN editions.sprint IS NOT NULL THEN 0 END AS BIGINT) AS current,
       CAST(CASE WHEN editions.content = drafts.content THEN 1 ELSE 0 END AS BIGINT) AS published
FROM marketplace.feedback_draft AS drafts
LEFT JOIN marketplace.editions AS editions ON editions.sprint = drafts.sprint AND editions.document = 'feedback-report'
WHERE drafts.sprint BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
