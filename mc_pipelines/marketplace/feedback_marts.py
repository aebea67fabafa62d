"""What partners said until a sprint's cut-off, as a table of issues and as the report that is published. No text of theirs is in either.

Grouping and tagging are `feedback.py`'s.
"""

from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.evidence.canonical import canonical, instant
from mc_pipelines.marketplace.feedback import DONE, Action, Feedback, Issue, first_landed
from mc_pipelines.marketplace.feedback import issues as grouped
from mc_pipelines.marketplace.reference import sprints_of, tagging_of
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.report import records

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop

REMARKS = """
    SELECT feedback_id, partner_id, category, severity, text, submitted_at
    FROM staging.feedback
    WHERE submitted_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY landing_day, submitted_at, partner_id, feedback_id, category, severity, text
"""
ACTIONS = """
    SELECT action_id, partner_id, feedback_id, owner, due, state, recorded_at, CAST(landing_day AS VARCHAR)
    FROM staging.actions
    WHERE recorded_at <= $as_of AND landing_day <= CAST($as_of AS DATE)
    ORDER BY ALL
"""


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the code that groups and tags."""
    return package_digest("marketplace")


def issues(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every issue, per sprint of `work`: what was said until its cut-off, also before the sprint."""
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(("issue_id", "partner_id", "category", "severity", "tags"), "VARCHAR"),
        "remarks": "BIGINT",
        "first_at": "TIMESTAMP",
        "last_at": "TIMESTAMP",
        "actions": "BIGINT",
        "open_actions": "BIGINT",
        "owners": "VARCHAR",
        "next_due": "DATE",
        "tracked": "BIGINT",
        "overdue": "BIGINT",
    }
    return relation_of(work, schema, (row for sprint, _, _, as_of in sprints_of(work) for row in _rows(work.con, sprint, as_of)))


def _said(con: "duckdb.DuckDBPyConnection", as_of: datetime) -> tuple[tuple[Feedback, ...], list[Action]]:
    """The forms and actions of a cut-off."""
    remarks = first_landed(Feedback(*row) for row in con.sql(REMARKS, params={"as_of": as_of}).fetchall())
    actions = [
        Action(action, partner, form, owner, date.fromisoformat(due), state, at, (landed,))
        for action, partner, form, owner, due, state, at, landed in con.sql(ACTIONS, params={"as_of": as_of}).fetchall()
    ]
    return remarks, actions


def _rows(con: "duckdb.DuckDBPyConnection", sprint: date, as_of: datetime) -> Iterator[tuple[Any, ...]]:
    remarks, actions = _said(con, as_of)
    for issue in grouped(remarks, actions, tagging_of(con), as_of)[0]:
        yield sprint, *_issue(issue)


def _issue(issue: Issue) -> tuple[Any, ...]:
    still = [each for each in issue.actions if each.state not in DONE]
    owners = ", ".join(sorted({each.owner for each in issue.actions}))
    about = (issue.issue_id, issue.partner_id, issue.category, issue.severity, ", ".join(issue.tags), len(issue.feedback_ids))
    due = min((each.due for each in still), default=None)
    return *about, issue.first_at, issue.last_at, len(issue.actions), len(still), owners, due, int(issue.tracked), int(issue.overdue)


def stray_actions(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row for every action on a form that no partner has sent until the cut-off, per sprint of `work`."""
    schema = {
        "sprint": "DATE",
        **dict.fromkeys(("action_id", "partner_id", "feedback_id", "owner", "state"), "VARCHAR"),
        "due": "DATE",
        "recorded_at": "TIMESTAMP",
    }
    return relation_of(work, schema, (row for sprint, _, _, as_of in sprints_of(work) for row in _stray(work.con, sprint, as_of)))


def _stray(con: "duckdb.DuckDBPyConnection", sprint: date, as_of: datetime) -> Iterator[tuple[Any, ...]]:
    remarks, actions = _said(con, as_of)
    for each in grouped(remarks, actions, tagging_of(con), as_of)[1]:
        yield sprint, each.action_id, each.partner_id, each.feedback_id, each.owner, each.state, each.due, each.recorded_at


QUERIES = {
    "issues": "SELECT issue_id, partner_id, category, severity, tags, remarks, first_at, last_at, owners, next_due, open_actions, overdue "
    "FROM marketplace.issues WHERE sprint = $sprint ORDER BY overdue DESC, tags = '', issue_id",
    "tracked": "SELECT tagged, tracked, overdue, share FROM marketplace.tracked WHERE sprint = $sprint",
    "weeks": "SELECT week, kind, CAST(sum(started) AS BIGINT) AS started, CAST(sum(breached) AS BIGINT) AS breached, "
    "CAST(sum(at_risk) AS BIGINT) AS at_risk, CAST(sum(running) AS BIGINT) AS running FROM marketplace.weeks WHERE sprint = $sprint "
    "GROUP BY week, kind ORDER BY week, kind",
}
"""What the published report holds: every issue, how many have an action, and the trend of what partners promised."""


def draft(work: "Work") -> "duckdb.DuckDBPyRelation":
    """A row per sprint in which a partner has said anything: the report as canonical JSON. Nothing stands against publishing it."""
    schema = {"sprint": "DATE", "remarks": "BIGINT", "issues": "BIGINT", "content": "VARCHAR", "against": "VARCHAR"}
    return relation_of(work, schema, _drafts(work))


def _drafts(work: "Work") -> Iterator[tuple[Any, ...]]:
    names = dict(work.con.sql("SELECT sprint, name FROM reference.sprints").fetchall())
    for sprint, _, _, as_of in sprints_of(work):
        found = {name: records(work.con, query, {"sprint": sprint}) for name, query in QUERIES.items()}
        if issues := found["issues"]:
            remarks = sum(int(each["remarks"]) for each in issues)
            report = {"sprint": names[sprint], "as_of": instant(as_of), "remarks": remarks, **found}
            yield sprint, remarks, len(issues), canonical(report).decode(), ""
