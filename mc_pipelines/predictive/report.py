"""What a sprint's bundle of predictive operations holds beside its rows: the audit dashboard, the drills and the model card, as JSON documents.

Only selection and naming belong here; every figure is a column of a mart.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from mc_pipelines.copies import SHOWN as CONFLICT
from mc_pipelines.predictive.card_mart import DOCUMENT
from mc_pipelines.predictive.declared import settings_of
from mc_pipelines.predictive.seeds import Version, differing, registered
from mc_pipelines.report import editions, records, shortened

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.windows import Window

REPORT, DRILLS, CARD = "predictive.json", "drills.json", f"{DOCUMENT}.json"
LISTS = {
    "conflicts": (f"SELECT {CONFLICT} FROM predictive.conflicts ORDER BY source, record", 50),
    "not_in_time": (
        "SELECT decision_id, reader, assigned AS auditor, due_at, completed_at, status FROM predictive.audit_reads WHERE in_time = 0 "
        "ORDER BY due_at, decision_id, reader",
        50,
    ),
    "uncounted": (
        "SELECT decision_id, reader, auditor, assigned, landing_day, completed_at, verdict, standing FROM predictive.verdicts "
        "WHERE standing <> 'counts' ORDER BY standing, decision_id, reader, landing_day, completed_at, auditor, verdict",
        50,
    ),
    "quotas": (
        "SELECT tenant_id, strftime(month, '%Y-%m') AS month, monthly_budget, spent, remaining, refused, would_refuse, unrefused, exhausted_on FROM predictive.quota_months "
        "ORDER BY unrefused DESC NULLS FIRST, remaining / greatest(monthly_budget, 1), tenant_id, month",
        200,
    ),
}
"""By name in the report a query, and how many of its rows are shown at most."""
DRAWN = 6
NEAREST = f"""
    SELECT tenant_id, strftime(month, '%Y-%m') AS month, monthly_budget, spent, remaining, exhausted_on
    FROM predictive.quota_months
    WHERE month = (SELECT max(month) FROM predictive.quota_months) AND monthly_budget IS NOT NULL AND (spent > 0 OR exhausted_on IS NOT NULL)
    ORDER BY exhausted_on NULLS LAST, remaining / greatest(monthly_budget, 1), tenant_id
    LIMIT {DRAWN}
"""
"""Whose budget of the sprint's last month is spent first, or is nearest to it."""


def documents(con: "duckdb.DuckDBPyConnection", window: "Window") -> dict[str, dict[str, Any]]:
    """The documents by path in the bundle. `con` shows the sprint's tables."""
    return {REPORT: _report(con, window), DRILLS: _drills(con, window)} | editions(con, "predictive", window)


def _report(con: "duckdb.DuckDBPyConnection", window: "Window") -> dict[str, Any]:
    return {
        "sprint": window.name,
        "first_day": window.key,
        "as_of": window.as_of,
        "landed": records(con, "SELECT * EXCLUDE (sprint, gaps) FROM predictive.landed ORDER BY source"),
        "live": records(con, "SELECT model, model_version, live_since, previous_version, rollbacks FROM predictive.live ORDER BY model"),
        "rollout": records(con, "SELECT ga_tenants, served, coverage FROM predictive.rollout"),
        "unserved": records(con, "SELECT tenant_id FROM predictive.rollout_tenants WHERE served = 0 ORDER BY tenant_id"),
        "audit_coverage": records(con, "SELECT in_scope, audited, coverage FROM predictive.audit_coverage"),
        "audits": records(con, "SELECT * EXCLUDE (sprint) FROM predictive.audits"),
        "verdicts": records(con, "SELECT standing, count(*) AS verdicts FROM predictive.verdicts GROUP BY standing ORDER BY standing"),
        "seeds": _seeds(con, window),
        "strata": records(
            con,
            "SELECT plan.model_version, plan.stratum, plan.population, plan.deviation, plan.planned, coalesce(done.judged, 0) AS judged, "
            "coalesce(done.overturned, 0) AS overturned, "
            "done.agreement, done.agreement_lower FROM predictive.audit_plan AS plan "
            "LEFT JOIN predictive.overturned_strata AS done ON done.stratum = plan.stratum ORDER BY plan.model_version, plan.stratum",
        ),
        "reads": records(con, "SELECT status, reader, count(*) AS reads FROM predictive.audit_reads GROUP BY ALL ORDER BY ALL"),
        "auditors": records(
            con,
            "SELECT assigned AS auditor, count(*) AS reads, CAST(sum(in_time) AS BIGINT) AS in_time, "
            "count(*) FILTER (WHERE verdict = 'overturned') AS overturned FROM predictive.audit_reads GROUP BY ALL ORDER BY ALL",
        ),
        "without_quota": records(
            con, "SELECT DISTINCT tenant_id FROM predictive.quota_months WHERE monthly_budget IS NULL ORDER BY tenant_id"
        ),
        "burn_down": _burn_down(con),
        "sandbox": records(con, "SELECT * EXCLUDE (sprint) FROM predictive.sandbox ORDER BY rule"),
        "service": records(
            con,
            "SELECT model_version, CAST(sum(decisions) AS BIGINT) AS decisions, CAST(sum(errors) AS BIGINT) AS errors, max(p95_ms) AS worst_p95_ms "
            "FROM predictive.service GROUP BY model_version ORDER BY model_version",
        ),
        "card": records(con, "SELECT * EXCLUDE (sprint) FROM predictive.card_check ORDER BY model"),
        "surfaces": records(con, "SELECT * EXCLUDE (sprint) FROM predictive.card_linked ORDER BY surface"),
    } | shortened(con, LISTS)


def _burn_down(con: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    """The tenants nearest to the end of their budget, each with what was left by day."""
    left = "SELECT day, remaining FROM predictive.burn_down WHERE tenant_id = $tenant ORDER BY day"
    return [row | {"days": records(con, left, {"tenant": row["tenant_id"]})} for row in records(con, NEAREST)]


def _seeds(con: "duckdb.DuckDBPyConnection", window: "Window") -> list[dict[str, Any]]:
    """The live version's seed, the settings that stand with it, and the names of those that are declared otherwise by now."""
    rows = records(
        con,
        "SELECT seeds.model, seeds.model_version, seeds.seed, seeds.entry, seeds.published_at, timely.before_data "
        "FROM predictive.seed_before_data AS timely JOIN predictive.seeds AS seeds USING (sprint, model, model_version) ORDER BY ALL",
    )
    stands, declared = registered(con), settings_of(con)
    found = []
    for row in rows:
        settings = stands[Version(date.fromisoformat(window.key), row["model"], row["model_version"])].settings
        found.append(row | {"settings": settings.model_dump(mode="json"), "differing": differing(settings, declared)})
    return found


def _drills(con: "duckdb.DuckDBPyConnection", window: "Window") -> dict[str, Any]:
    steps = records(
        con,
        "SELECT drill_id, playbook, ran_at, step, action, started_at, finished_at, "
        "(epoch_us(finished_at) - epoch_us(started_at)) // 1000000 AS seconds, outcome, alert, decision FROM predictive.drill_steps "
        "ORDER BY ran_at, drill_id, step",
    )
    drills: dict[str, dict[str, Any]] = {}
    for step in steps:
        about = {key: step.pop(key) for key in ("drill_id", "playbook", "ran_at")}
        drills.setdefault(about["drill_id"], about | {"steps": []})["steps"].append(step)
    playbooks = records(
        con,
        "SELECT done.playbook, playbooks.title, playbooks.owner, playbooks.runbook, playbooks.steps, done.drills, done.passed "
        "FROM predictive.drilled AS done JOIN predictive.playbooks AS playbooks USING (playbook) ORDER BY playbook",
    )
    declared = {row["playbook"]: int(row["steps"]) for row in playbooks}
    return {
        "sprint": window.name,
        "as_of": window.as_of,
        "playbooks": playbooks,
        "drills": [drill | {"outcome": outcome(drill["steps"], declared.get(drill["playbook"], 0))} for drill in drills.values()],
        "rehearsals": records(
            con,
            "SELECT rehearsal_id, model_version, ran_at, inputs, inputs - unproven AS equal, differing, unknown, unproven, elapsed_ms FROM predictive.rehearsal "
            "ORDER BY ran_at",
        ),
    }


def outcome(steps: Sequence[Mapping[str, Any]], declared: int) -> str:
    """passed, failed, or incomplete: what `predictive.drilled` counts as a drill that passed, said of one. Steps are in their order."""
    if any(step["outcome"] != "passed" for step in steps):
        return "failed"
    return "passed" if len(steps) >= declared and int(steps[-1]["step"]) == len(steps) else "incomplete"
