"""The project's side of `benchmarks.close`, each part run in a process of its own: the close, staging with or without rules, the gates.

Usage: python -m benchmarks.close_project generate|close|staging|gates HOME OUT [--no-rules]
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import click

from benchmarks.measure import Cost, inside
from mc_pipelines import fields, intake
from mc_pipelines.contracts import Contract, Field
from mc_pipelines.engine import connect
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE
from mc_pipelines.landing import landing_days
from mc_pipelines.runner import Outcome, Workshop, materialise
from mc_pipelines.simulate import simulate

MONTH = "2026-04-01"
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group()
def main() -> None:
    """Parts of the close, to be measured from outside."""


@main.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--events", type=int)
@click.option("--tenants", type=int)
@click.option("--seed", type=int)
@click.option("--format", "form", type=click.Choice(["parquet", "ndjson"]))
@click.option("--faults/--no-faults")
def generate(data: Path, events: int, tenants: int, seed: int, form: Any, faults: bool) -> None:
    """Thirty days of generated usage from the first of the month."""
    simulate(data, events, tenants, date.fromisoformat(MONTH), 30, seed, form, faults)


def windows(home: Home) -> dict[str, list[str]]:
    """Every landing day there is, the month, and the one window of what has none."""
    days = sorted(set(landing_days(home, "usage_events")) | set(landing_days(home, "gateway_log")))
    return {"day": days, "month": [MONTH], "once": [WHOLE]}


def profile_row(outcome: Outcome, cost: Cost) -> dict[str, Any]:
    return {
        "model": outcome.table,
        "cpu": cost.cpu,
        "wall": cost.wall,
        "peak_mb": cost.peak_mb,
        "rows": outcome.rows,
        "windows": len(outcome.rebuilt),
    }


@main.command()
@click.argument("root", type=FOLDER)
@click.argument("out", type=FOLDER)
def close(root: Path, out: Path) -> None:
    """Build every table of an empty lake, upstream first, as a close does; no Dagster, no signing."""
    from mc_pipelines.windows import in_use

    home = Home(root)
    shop = Workshop.open(home)
    wanted = windows(home)
    profile = []
    for model in in_use(shop.home, shop.catalog):
        cost, outcome = inside(partial(materialise, shop, model, wanted[model.header.every]))
        profile.append(profile_row(outcome, cost))
    con = connect()
    shop.lake.view(con, "metering.variance")
    totals = con.sql("SELECT tenant_id, meter, CAST(metered AS VARCHAR), CAST(reference AS VARCHAR) FROM metering.variance ORDER BY ALL")
    write(out, {"totals": totals.fetchall(), "profile": profile, "peak_mb": max(row["peak_mb"] for row in profile)})


class Unruled(Field):
    """A field that is read and typed as its contract says, and never judged."""

    def rules(self) -> dict[str, str]:
        return {}


def unruled(contract: Contract) -> Contract:
    """The same contract with the same columns, and no rule."""
    fields = tuple(Unruled(**vars(each) | {"required": False, "options": ()}) for each in contract.fields)
    return replace(contract, rules=(), fields=fields)


@contextmanager
def without_rules() -> Iterator[None]:
    """Take every rule out of staging: the fields' own, those across fields, and the tests for digits lost and for objects in place of texts."""
    contract_of = intake.contract_of
    with (
        mock.patch.object(intake, "contract_of", lambda home, source: unruled(contract_of(home, source))),
        mock.patch.object(fields, "_flaws", return_value="CAST(NULL AS VARCHAR)"),
    ):
        yield


@main.command("staging")
@click.argument("root", type=FOLDER)
@click.argument("out", type=FOLDER)
@click.option("--rules/--no-rules", default=True)
def staging_alone(root: Path, out: Path, rules: bool) -> None:
    """Stage every landing day of the usage events into an empty lake, judged by the contract or not."""
    from mc_pipelines.windows import in_use

    home = Home(root)
    shop = Workshop.open(home)
    for model in in_use(shop.home, shop.catalog):
        if model.deliverable == "reference":
            materialise(shop, model)

    def stage() -> Outcome:
        return materialise(shop, shop.catalog.models["staging.usage_events"], windows(home)["day"])

    if rules:
        cost, outcome = inside(stage)
    else:
        with without_rules():
            cost, outcome = inside(stage)
    con = connect()
    shop.lake.view(con, "staging.usage_events")
    digest = con.sql("SELECT count(*), CAST(sum(CAST(hash(COLUMNS(*)) AS HUGEINT)) AS VARCHAR) FROM staging.usage_events").fetchall()[0]
    write(
        out, {"cpu": cost.cpu, "wall": cost.wall, "peak_mb": cost.peak_mb, "rows": outcome.rows, "digest": [str(part) for part in digest]}
    )


@main.command()
@click.argument("root", type=FOLDER)
@click.argument("out", type=FOLDER)
def gates(root: Path, out: Path) -> None:
    """Judge every gate of the deliverable twice on a lake that is built, after the one import of Great Expectations."""
    from mc_pipelines.attempts import evaluate_window
    from mc_pipelines.close import DELIVERABLE, pinned
    from mc_pipelines.gates import gates_of
    from mc_pipelines.windows import Window

    shop = Workshop.open(Home(root))
    imported, _ = inside(import_expectations)
    declared, pins = gates_of(shop.home, DELIVERABLE), pinned(shop)
    costs = [inside(lambda: evaluate_window(shop, Window(MONTH[:7], MONTH, ""), pins, declared))[0] for _ in range(5)]
    shown = [{"cpu": cost.cpu, "wall": cost.wall} for cost in costs]
    write(out, {"gates": len(declared), "import": {"cpu": imported.cpu, "wall": imported.wall}, "runs": shown})


def import_expectations() -> None:
    import great_expectations  # noqa: F401
    import pandas  # noqa: F401


def write(out: Path, result: Mapping[str, Any]) -> None:
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
