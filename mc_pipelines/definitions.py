"""The Dagster code location: every declared table and gate as definitions, made by one `build_defs`.

Wrappers only: what a table is stands in assets/, what is acceptable in checks/, how it is computed in the runner. No data is read here
at import beyond the declarations themselves.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import BetaWarning, PreviewWarning
from pydantic import Field

from mc_pipelines import automation, display, opslog
from mc_pipelines.calendars import days as days_between
from mc_pipelines.catalog import Catalog, Model, read_catalog
from mc_pipelines.close import DELIVERABLE, MONTH_END
from mc_pipelines.disk import DiskError
from mc_pipelines.errors import MissionError
from mc_pipelines.gates import Gate, gates_of
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE
from mc_pipelines.reference import read_calendar
from mc_pipelines.runner import Outcome, Workshop, materialise

# backfill_policy is beta and a check's partitions_def is preview in 1.13; both are used on purpose and covered by tests.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy.*")
warnings.filterwarnings("ignore", category=PreviewWarning, message=".*partitions_def.*")


def calendars(home: Home) -> tuple[dg.DailyPartitionsDefinition, dg.MonthlyPartitionsDefinition]:
    """Days and months, with one start: mixed starts split a range backfill into odd chunks."""
    start = read_calendar(home).start.replace(day=1).isoformat()
    return dg.DailyPartitionsDefinition(start, timezone="UTC"), dg.MonthlyPartitionsDefinition(start, timezone="UTC")


def key(table: str) -> dg.AssetKey:
    return dg.AssetKey(table.split("."))


def window_keys(context: dg.AssetExecutionContext, model: Model) -> list[str]:
    """Every window of the run's whole partition range, never only its first."""
    if model.header.window is None:
        return [WHOLE]
    return sorted(context.partition_keys)


def spec(catalog: Catalog, model: Model, table: str, partitions: dg.PartitionsDefinition[str] | None) -> dg.AssetSpec:
    """The asset of one table: description, owner, kinds, code and upstream, all from the declaration."""
    own = table == model.key
    # Behind a view stand the tables that it reads: they must be built first, and Dagster orders by direct upstream alone.
    upstream = [key(dep) for dep in sorted({*model.deps, *catalog.inputs(model), *filter(None, [model.touched])})]
    if model.deliverable == "staging":
        upstream.append(dg.AssetKey(["files", model.key.partition(".")[2]]))
    return dg.AssetSpec(
        key(table),
        deps=upstream,
        description=model.header.about
        if own
        else f"Written beside {model.key}: {'what landed, file by file' if table.startswith('landing') else 'rows refused, with reasons'}.",
        group_name=model.deliverable,
        owners=[model.owner],
        kinds={"duckdb", "view" if model.header.view else "deltalake", "sql" if model.sql else "python"},
        partitions_def=partitions,
        metadata={
            "grain": ", ".join(model.header.grain),
            "file": dg.MetadataValue.path(str(model.path)),
            **({"sql": dg.MetadataValue.md(f"```sql\n{model.sql}\n```")} if model.sql and own else {}),
            **(display.declared(model) if own else {}),
        },
        freshness_policy=None if model.header.view else _freshness(model),
    )


def _freshness(model: Model) -> dg.FreshnessPolicy | None:
    """A landing-day table is late when it has not been built for 36 hours."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36)) if model.header.every == "day" else None


def asset(home: Home, catalog: Catalog, model: Model, partitions: dg.PartitionsDefinition[str] | None) -> dg.AssetsDefinition:
    """The definition that builds one model, with the tables written beside it."""
    tables = (*model.header.also, model.key)

    @dg.multi_asset(
        name=model.key.replace(".", "__"),
        specs=[spec(catalog, model, table, partitions) for table in tables],
        # A month keeps the status of its checks only in a run of its own; days go by in one run.
        backfill_policy=dg.BackfillPolicy.single_run() if model.header.every == "day" else None,
        pool=f"table_{model.key.replace('.', '_')}",
    )
    def build(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        shop = Workshop.open(home, context.run.run_id)
        windows = window_keys(context, model)
        days = asked_days(context, model)
        standing: list[str] = []
        try:
            outcome = materialise(shop, model, windows, standing.extend)
        except Exception as error:
            raise _failure(context, home, model, standing, days, str(error)) from error
        if model.header.every != "month":
            opslog.record_done(home, model.key, [day for day in outcome.rebuilt if day != WHOLE], days, context.run.run_id)
        _log_others(context, model, windows, outcome)
        for table in tables:
            yield dg.MaterializeResult(asset_key=key(table), metadata=display.result(shop, model, table, outcome, days))

    return build


def asked_days(context: dg.AssetExecutionContext, model: Model) -> list[str]:
    """The days that the run was asked for; also where the table itself has no days, since its failure fails them all."""
    if model.header.every == "day":
        return sorted(context.partition_keys)
    if context.job_name == MONTH_END:
        return []
    tags = context.run.tags
    first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition")
    if model.header.every == "month" or first is None:
        return []
    return days_between(first, tags.get("dagster/asset_partition_range_end"))


def _failure(
    context: dg.AssetExecutionContext, home: Home, model: Model, standing: Sequence[str], days: Sequence[str], reason: str
) -> dg.Failure:
    """Keep the fate of each day: those of finished chunks stand and are shown as built, the others failed."""
    failed, run_id = [day for day in days if day not in standing], context.run.run_id
    done = [day for day in days if day in standing]
    with suppress(DiskError):  # where even this cannot be written, the error itself is what must be read
        opslog.record_days(home, model.key, failed, "failed", run_id, reason)
        opslog.record_days(home, model.key, done, "done", run_id)
    for day in done:
        context.log_event(dg.AssetMaterialization(key(model.key), partition=day, metadata={"why": "its chunk stands; a later one failed"}))
    rows = [(day, "done", "") for day in done] + [(day, "failed", reason) for day in failed]
    return dg.Failure(reason, metadata=display.day_table(("day", "status", "reason"), rows))


def _log_others(context: dg.AssetExecutionContext, model: Model, windows: Sequence[str], outcome: Outcome) -> None:
    """Late data made other days stale; they were rebuilt too, and the UI should know."""
    for window in outcome.rebuilt:
        if window not in windows:
            context.log_event(
                dg.AssetMaterialization(
                    key(model.key), partition=window, metadata={"dagster/row_count": outcome.by_window[window], "why": "late data"}
                )
            )
            context.log.info(f"{model.key}: {window} rebuilt, because late data touched it")


def check(home: Home, gate: Gate, partitions: dg.PartitionsDefinition[str] | None) -> dg.AssetChecksDefinition:
    """The asset check of one gate. It does not block: the close signs its failure, and only approve and lock refuse."""

    @dg.asset_check(
        asset=key(gate.table),
        name=gate.gate,
        description=gate.about,
        partitions_def=partitions,
        metadata={"owner": gate.owner, "runbook": gate.runbook or ""},
    )
    def evaluate(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from mc_pipelines.close import evaluate_month

        shop = Workshop.open(home, context.op_execution_context.run.run_id)
        version = shop.lake.version(gate.table)
        if version is None:
            raise MissionError(f"{gate.table} is not built yet. Materialise it first.")
        (result,) = evaluate_month(shop, context.partition_key, {gate.table: version}, [gate])
        rows = [dg.TableRecord({name: str(value) for name, value in row.items()}) for row in result.offending]
        metadata: dict[str, Any] = {"status": result.status, "reason": result.reason, "rows": result.rows}
        metadata |= {
            name: float(value)
            for name, value in (("value", result.value), ("threshold", result.threshold))
            if value is not None and _numeric(value)
        }
        if rows:
            metadata["offending"] = dg.MetadataValue.table(rows)
        severity = dg.AssetCheckSeverity.ERROR if result.severity == "critical" else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(passed=result.status == "passed", severity=severity, metadata=metadata, description=result.reason)

    return evaluate


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def close_asset(home: Home, months: Sequence[Model], partitions: dg.PartitionsDefinition[str] | None) -> dg.AssetsDefinition:
    """The month's signed attempt and the pages that show it, after every table of the month, all of which it signs."""

    @dg.asset(
        key=["evidence", "metering_close"],
        deps=[key(model.key) for model in months],
        group_name=DELIVERABLE,
        owners=["team:product-ops"],
        kinds={"evidence"},
        partitions_def=partitions,
        description="One signed attempt at closing a month: gates evaluated anew, bundle, journal entry, pages. A failed attempt is signed too.",
        pool="journal",
    )
    def metering_close(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from mc_pipelines.close import attempt

        asked_by = context.run.tags.get("requested_by", "")
        done = attempt(home, context.partition_key[:7], context.run.run_id, context.log.info, asked_by)
        return dg.MaterializeResult(
            metadata={
                "verdict": done.verdict,
                "edition": done.edition,
                "digest": done.digest,
                "fresh": done.fresh,
                "bundle": dg.MetadataValue.path(str(done.bundle)),
                "scoreboard": dg.MetadataValue.path(str(home.site / "index.html")),
                "invoices": dg.MetadataValue.path(str(home.site / "invoices" / f"{done.period}.html")),
                "gates_failed": sum(result.status != "passed" for result in done.results),
            }
        )

    return metering_close


class ApproveClose(dg.Config):
    """`sign_off` is the path of an approval that a person has signed with `mission sign`; a job never signs for anybody."""

    sign_off: str


class LockClose(dg.Config):
    """The month, for example 2026-04, and its tenants; without tenants all that two people approved."""

    month: str
    tenants: list[str] = Field(default_factory=list)


def life_jobs(home: Home) -> list[dg.JobDefinition]:
    """What `mission approve --signed`, `mission lock` and `mission publish` do, for whoever works in the UI."""

    @dg.op(description="Take a signed approval into the journal, if it is about the newest edition.")
    def approve(context: dg.OpExecutionContext, config: ApproveClose) -> None:
        from mc_pipelines.close import journal_of
        from mc_pipelines.closing.acts import approve as take
        from mc_pipelines.evidence.people import read_people

        path = Path(config.sign_off)
        entry = take(journal_of(home), read_people(home), path.read_bytes(), str(path))
        context.log.info(f"entry {entry.number}: {entry.body['person']} approved {len(entry.body['tenants'])} tenant(s)")

    @dg.op(description="Fix the close of approved tenants, for ever.")
    def lock(context: dg.OpExecutionContext, config: LockClose) -> None:
        from mc_pipelines.close import lock as fix
        from mc_pipelines.close import requester

        entry = fix(home, config.month, config.tenants or None, context.run.tags.get("requested_by") or requester())
        context.log.info(f"entry {entry.number}: {len(entry.body['tenants'])} tenant(s) of edition {entry.body['edition']} locked")

    @dg.op(description="Hand over locked invoices that a finance note covers.")
    def publish(context: dg.OpExecutionContext, config: LockClose) -> None:
        from mc_pipelines.close import requester
        from mc_pipelines.closing.publication import publish as hand_over

        entry = hand_over(home, config.month, config.tenants or None, context.run.tags.get("requested_by") or requester())
        context.log.info(f"entry {entry.number}: {entry.body['invoices']} invoice(s) published")

    @dg.job(name="approve_close", description="A person's signed approval of a month's newest edition.")
    def approve_close() -> None:
        approve()

    @dg.job(name="lock_close", description="Lock the approved tenants of a month. Nothing unlocks.")
    def lock_close() -> None:
        lock()

    @dg.job(
        name="publish_close", description="Publish the locked invoices of a month: list, ledger entries, credit notes. Nothing unpublishes."
    )
    def publish_close() -> None:
        publish()

    return [approve_close, lock_close, publish_close]


def build_defs(home: Home | None = None) -> dg.Definitions:
    """Every asset, check, job, schedule and sensor of one home; the server, the command line and the tests all use this."""
    home = home or Home.find()
    catalog = read_catalog(home)
    days, months = calendars(home)
    partitions = {"day": days, "month": months, "once": None}
    models = [model for model in catalog.ordered() if not model.header.view]
    gates = gates_of(home, DELIVERABLE)
    closed = [model for model in models if model.header.every == "month"]
    daily = dg.AssetSelection.assets(
        *[key(table) for model in models if model.header.every != "month" for table in (model.key, *model.header.also)]
    )
    monthly = dg.AssetSelection.assets(
        *[key(model.key) for model in models if model.header.every == "month" or model.header.with_months],
        dg.AssetKey(["evidence", "metering_close"]),
    )
    jobs = [
        dg.define_asset_job("daily", daily, description="Stage a landing day and rebuild every local day that its events touch."),
        dg.define_asset_job(MONTH_END, monthly, description="Build the month's marts, judge the gates, sign the attempt, show it."),
    ]
    files = [
        dg.AssetSpec(
            ["files", source], group_name="staging", description=f"Landed files of {source}, as the sensor saw them.", kinds={"file"}
        )
        for source in sorted({model.key.partition(".")[2] for model in models if model.deliverable == "staging"})
    ]
    return dg.Definitions(
        assets=[
            *files,
            *[spec(catalog, model, model.key, None) for model in catalog.ordered() if model.header.view],
            *[asset(home, catalog, model, partitions[model.header.every]) for model in models],
            close_asset(home, closed, months),
        ],
        asset_checks=[check(home, gate, months) for gate in gates],
        jobs=[*jobs, *life_jobs(home)],
        schedules=automation.schedules(),
        sensors=automation.sensors(home, days),
        executor=dg.in_process_executor,
    )
