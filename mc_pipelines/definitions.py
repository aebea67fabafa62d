"""The Dagster code location: every declared table and gate as definitions, made by one `build_defs`.

Wrappers only: what a table is stands in assets/, what is acceptable in checks/, how it is computed in the runner. No data is read here
at import beyond the declarations themselves.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster import BetaWarning, PreviewWarning

from mc_pipelines import automation, display, opslog
from mc_pipelines.calendars import days as days_between
from mc_pipelines.catalog import Catalog, Model, read_catalog
from mc_pipelines.declarations import Exit
from mc_pipelines.disk import DiskError
from mc_pipelines.errors import MissionError
from mc_pipelines.gates import Gate, gates_of
from mc_pipelines.home import Home
from mc_pipelines.jobs import edition_job, life_jobs, tonight_job
from mc_pipelines.lake import WHOLE
from mc_pipelines.reference import read_calendar
from mc_pipelines.runner import Outcome, Workshop, materialise
from mc_pipelines.windows import MONTH_END, SPRINT_END, in_use, job_of, sprint_windows, window_keyed

# backfill_policy is beta and a check's partitions_def is preview in 1.13; both are used on purpose and covered by tests.
warnings.filterwarnings("ignore", category=BetaWarning, message=".*backfill_policy.*")
warnings.filterwarnings("ignore", category=PreviewWarning, message=".*partitions_def.*")


Partitions = dg.PartitionsDefinition[str] | None


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


def spec(catalog: Catalog, model: Model, table: str, partitions: Partitions) -> dg.AssetSpec:
    """The asset of one table: description, owner, kinds, code and upstream, all from the declaration."""
    own = table == model.key
    # Behind a view stand the tables that it reads: they must be built first, and Dagster orders by direct upstream alone.
    named = sorted({*model.deps, *catalog.inputs(model), *filter(None, [model.touched])})
    upstream: list[dg.AssetKey | dg.AssetDep] = [_dep(catalog, model, dep) for dep in named]
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


def _dep(catalog: Catalog, model: Model, dep: str) -> dg.AssetKey | dg.AssetDep:
    """What a table rests on. Dagster knows how days lie in months, but not how they lie in a sprint, which may read those before it too."""
    if model.header.every == "sprint" and catalog.owner_of(dep).header.every == "day":
        return dg.AssetDep(key(dep), partition_mapping=dg.AllPartitionMapping())
    return key(dep)


def _freshness(model: Model) -> dg.FreshnessPolicy | None:
    """A landing-day table is late when it has not been built for 36 hours."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36)) if model.header.every == "day" else None


def asset(opened: Workshop, model: Model, partitions: Partitions) -> dg.AssetsDefinition:
    """The definition that builds one model, with the tables written beside it. What one step has learnt of the lake, the next one knows."""
    home, catalog = opened.home, opened.catalog
    tables = (*model.header.also, model.key)

    @dg.multi_asset(
        name=model.key.replace(".", "__"),
        specs=[spec(catalog, model, table, partitions) for table in tables],
        # A month keeps the status of its checks only in a run of its own; days go by in one run.
        backfill_policy=dg.BackfillPolicy.single_run() if model.header.every == "day" else None,
        pool=f"table_{model.key.replace('.', '_')}",
    )
    def build(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        shop = replace(opened, run_id=context.run.run_id)
        windows = window_keys(context, model)
        days = asked_days(context, model)
        standing: list[str] = []
        try:
            outcome = materialise(shop, model, windows, standing.extend)
        except Exception as error:
            raise _failure(context, home, model, standing, days, str(error)) from error
        if not model.judged:
            opslog.record_done(home, model.key, [day for day in outcome.rebuilt if day != WHOLE], days, context.run.run_id)
        _log_others(context, model, windows, outcome)
        for table in tables:
            yield dg.MaterializeResult(asset_key=key(table), metadata=display.result(shop, model, table, outcome, days))

    return build


def asked_days(context: dg.AssetExecutionContext, model: Model) -> list[str]:
    """The days that the run was asked for; also where the table itself has no days, since its failure fails them all."""
    if model.header.every == "day":
        return sorted(context.partition_keys)
    if context.job_name == MONTH_END or context.job_name.endswith(SPRINT_END):
        return []
    tags = context.run.tags
    first = tags.get("dagster/asset_partition_range_start") or tags.get("dagster/partition")
    if model.judged or first is None:
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


def check(opened: Workshop, gate: Gate, every: str, partitions: Partitions) -> dg.AssetChecksDefinition:
    """The asset check of one gate, on one window of its deliverable. It does not block: the close signs its failure, and only approve and lock refuse."""

    @dg.asset_check(
        asset=key(gate.table),
        name=gate.gate,
        description=gate.about,
        partitions_def=partitions,
        metadata={"owner": gate.owner, "runbook": gate.runbook or ""},
    )
    def evaluate(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        from mc_pipelines.attempts import evaluate_window

        shop = replace(opened, run_id=context.op_execution_context.run.run_id)
        version = shop.lake.version(gate.table)
        if version is None:
            raise MissionError(f"{gate.table} is not built yet. Materialise it first.")
        (result,) = evaluate_window(shop, window_keyed(shop.home, every, context.partition_key), {gate.table: version}, [gate])
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


def attempt_key(deliverable: str) -> dg.AssetKey:
    return dg.AssetKey(["evidence", "metering_close" if deliverable == "metering" else deliverable])


def attempt_asset(home: Home, deliverable: str, owner: str, rests_on: Sequence[Model], partitions: Partitions) -> dg.AssetsDefinition:
    """The signed attempt at a window and the pages that show it, after every table of the window, all of which it signs."""

    @dg.asset(
        key=attempt_key(deliverable),
        deps=[key(model.key) for model in rests_on],
        group_name=deliverable,
        owners=[owner],
        kinds={"evidence"},
        partitions_def=partitions,
        description="One signed attempt at a window: gates evaluated anew, bundle, journal entry, pages. A failed attempt is signed too.",
        pool="journal",
    )
    def attempted(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        from mc_pipelines.attempts import attempt

        every = read_catalog(home).exit_of(deliverable).every
        name = window_keyed(home, every, context.partition_key).name
        asked_by = context.run.tags.get("requested_by", "")
        done = attempt(home, deliverable, name, context.run.run_id, context.log.info, asked_by)
        return dg.MaterializeResult(
            metadata={
                "verdict": done.verdict,
                "edition": done.edition,
                "digest": done.digest,
                "fresh": done.fresh,
                "bundle": dg.MetadataValue.path(str(done.bundle)),
                "scoreboard": dg.MetadataValue.path(str(home.site / "index.html")),
                "gates_failed": sum(result.status != "passed" for result in done.results),
            }
        )

    return attempted


def end_job(catalog: Catalog, deliverable: str, ends: Exit) -> Any:
    """The job that builds a window's tables, and what is declared anew for each, then attempts it."""
    judged = catalog.judged(deliverable)
    again = [model for model in catalog.behind(judged) if model.header.with_months]
    selected = dg.AssetSelection.assets(*[key(model.key) for model in (*judged, *again)], attempt_key(deliverable))
    said = f"Build the {ends.every}'s marts, judge the gates, sign the attempt, show it."
    return dg.define_asset_job(job_of(deliverable, ends.every), selected, description=said)


def build_defs(home: Home | None = None) -> dg.Definitions:
    """Every asset, check, job, schedule and sensor of one home; the server, the command line and the tests all use this."""
    home = home or Home.find()
    opened = Workshop.open(home)
    catalog = opened.catalog
    days, months = calendars(home)
    sprints = dg.StaticPartitionsDefinition([window.key for window in sprint_windows(home)])
    partitions: dict[str, Partitions] = {"day": days, "month": months, "sprint": sprints, "once": None}
    known = in_use(home, catalog)
    models = [model for model in known if not model.header.view]
    used = {model.deliverable for model in models if model.judged}
    judged = {name: declared for name, declared in sorted(catalog.deliverables.items()) if declared.exit and name in used}
    ends = {name: declared.exit for name, declared in judged.items() if declared.exit}
    daily = dg.AssetSelection.assets(*[key(table) for model in models if not model.judged for table in (model.key, *model.header.also)])
    jobs = [
        dg.define_asset_job("daily", daily, description="Stage a landing day and rebuild every local day that its events touch."),
        *[end_job(catalog, name, each) for name, each in ends.items()],
    ]
    tonight = tonight_job(home)
    files = [
        dg.AssetSpec(
            ["files", source], group_name="staging", description=f"Landed files of {source}, as the sensor saw them.", kinds={"file"}
        )
        for source in sorted({model.key.partition(".")[2] for model in models if model.deliverable == "staging"})
    ]
    return dg.Definitions(
        assets=[
            *files,
            *[spec(catalog, model, model.key, None) for model in known if model.header.view],
            *[asset(opened, model, partitions[model.header.every]) for model in models],
            *[
                attempt_asset(
                    home,
                    name,
                    judged[name].owner,
                    [model for model in models if model.judged and model.deliverable == name],
                    partitions[each.every],
                )
                for name, each in ends.items()
            ],
        ],
        asset_checks=[
            check(opened, gate, each.every, partitions[each.every]) for name, each in ends.items() for gate in gates_of(home, name)
        ],
        jobs=[*jobs, *life_jobs(home), *([edition_job(home)] if any(each.publishes for each in ends.values()) else []), tonight],
        schedules=automation.schedules(home, [job_of(name, each.every) for name, each in ends.items() if each.every == "sprint"]),
        sensors=[*automation.sensors(home, days), automation.after_the_day(jobs[0], tonight)],
        executor=dg.in_process_executor,
    )
