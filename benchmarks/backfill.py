"""A quarter of predictive operations and of the marketplace, built day by day and in one run: python -m benchmarks.backfill --json backfill.json.

Both homes hold the same landed files, reference data and journal. Each `mission run` is a process of its own, as a user starts it; the tables of the
sprints are built once the days are there. It counts only if every table of both homes has the same rows.
"""

import sys
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import click

from benchmarks.measure import CHECKOUT, Cost, inside, machine, run, show, versions, write_json

FIRST = date(2026, 4, 1)
MISSION = "from mc_pipelines.cli import main; main()"
LENGTH, GRACE = 14, 3
"""Days of a sprint, and how many more its rows may land."""
ISSUES = 100
DELIVERABLES = ("predictive", "marketplace")


def lay(root: Path, last: date, decisions: int, requests: int) -> list[str]:
    """Land both deliverables' quarter and publish the seeds of its sprints, with one key for personal fields; returns the sprints' first days."""
    from mc_pipelines import personal
    from mc_pipelines.demo_person import sign_packets
    from mc_pipelines.generated import new_file
    from mc_pipelines.home import Home
    from mc_pipelines.marketplace.declared import read_partners, read_sources
    from mc_pipelines.marketplace.sample_packets import write_packets
    from mc_pipelines.marketplace.simulate import simulate as marketplace
    from mc_pipelines.predictive.demo import publish_seeds
    from mc_pipelines.predictive.simulate import simulate as predictive
    from mc_pipelines.yamlread import load_yaml

    home = Home(root)
    declared = CHECKOUT / "data" / "reference"
    for source in sorted(declared.rglob("*.yaml")):
        target = home.reference / source.relative_to(declared)
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(source, target)
    starts = [FIRST + timedelta(days=step) for step in range(0, (last - FIRST).days + 1 - LENGTH, LENGTH)]
    lines = [
        f"  - {{sprint: '{number}', first: {start}, last: {start + timedelta(days=LENGTH - 1)}, zone: America/Denver, grace_days: {GRACE}}}\n"
        for number, start in enumerate(starts, 1)
    ]
    (home.reference / "sprints.yaml").write_text("sprints:\n" + "".join(lines), encoding="utf-8")
    stages = {
        row["tenant_id"]: each["stage"]
        for row in load_yaml(declared / "tenants.yaml")["tenants"]
        for each in row["stages"]
        if each["product"] == "predictive"
    }
    ga = [name for name, stage in stages.items() if stage == "ga"]
    predictive(home.landing, list(stages), ga, FIRST, last, decisions, 1, place=new_file)
    publish_seeds(home)
    personal.key(home)
    sources = read_sources(home)
    write_packets(home, sources)
    sign_packets(home)
    live = [each.source_id for each in sources if each.status_on(last) == "live"]
    partners = [each.partner_id for each in read_partners(home)]
    marketplace(home.landing, live, list(stages), partners, FIRST, last, requests, ISSUES, 1, place=new_file)
    return [start.isoformat() for start in starts]


def build(root: Path, windows: Sequence[str], log: Path) -> list[Cost]:
    """Run `mission run` for each of `windows`, a day or FIRST..LAST."""
    return [run([sys.executable, "-c", MISSION, "run", window], log, {"MISSION_HOME": str(root)}) for window in windows]


def finish(root: Path, sprints: Sequence[str]) -> None:
    """Build what is judged by sprint, and what follows from it."""
    from mc_pipelines.home import Home
    from mc_pipelines.lake import WHOLE
    from mc_pipelines.runner import Workshop, materialise

    shop = Workshop.open(Home(root))
    for model in shop.catalog.ordered():
        if model.deliverable in ("reference", *DELIVERABLES) and not model.header.view and model.header.every != "day":
            materialise(shop, model, sprints if model.judged else [WHOLE])


def tables(root: Path) -> dict[str, tuple[int, str]]:
    """By table its rows and the digest of them in order, without what names the run that wrote them."""
    from hashlib import sha256

    from mc_pipelines.engine import connect
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Workshop

    shop, con, found = Workshop.open(Home(root)), connect(), {}
    for table in shop.lake.tables():
        if not table.startswith("ops.") and shop.lake.view(con, table) is not None:
            rows = con.sql(
                f"SELECT {'* EXCLUDE (run_id)' if table.startswith('quarantine.') else '*'} FROM {table} ORDER BY ALL"
            ).fetchall()
            found[table] = len(rows), sha256(repr(rows).encode()).hexdigest()
    return found


def row(what: str, costs: Sequence[Cost]) -> dict[str, Any]:
    return {
        "what": what,
        "runs": len(costs),
        "wall": sum(cost.wall for cost in costs),
        "cpu": sum(cost.cpu for cost in costs),
        "peak_mb": max(cost.peak_mb for cost in costs),
    }


@click.command()
@click.option("--days", "count", default=90, show_default=True)
@click.option("--decisions", default=30_000, show_default=True)
@click.option("--requests", default=600, show_default=True)
@click.option("--json", "document", type=click.Path(path_type=Path), help="Write the figures here.")
def main(count: int, decisions: int, requests: int, document: Path | None) -> None:
    """Build a quarter twice and compare. Example: python -m benchmarks.backfill --days 30"""
    last = FIRST + timedelta(days=count - 1)
    days = [(FIRST + timedelta(days=step)).isoformat() for step in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        at_once, by_day, log = Path(folder) / "at-once", Path(folder) / "by-day", Path(folder) / "log"
        sprints = lay(at_once, last, decisions, requests)
        copytree(at_once, by_day)
        steps = [row("one run", build(at_once, [f"{days[0]}..{days[-1]}"], log)), row("a run for each day", build(by_day, days, log))]
        for each, root in zip(steps, (at_once, by_day), strict=True):
            each["sprints"], _ = inside(partial(finish, root, sprints))
        one, other = tables(at_once), tables(by_day)
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    if differing:
        raise RuntimeError("not the same rows: " + ", ".join(f"{name} {one.get(name)} {other.get(name)}" for name in differing))
    show(
        f"{count} days, {len(sprints)} sprints: {len(one)} tables, {sum(rows for rows, _ in one.values()):,} rows, the same in both",
        ("how", "runs", "wall s", "CPU s", "peak MB", "then the sprints, CPU s"),
        [(each["what"], each["runs"], each["wall"], each["cpu"], round(each["peak_mb"]), each["sprints"].cpu) for each in steps],
    )
    figures = {
        "machine": machine(),
        "versions": versions("duckdb", "dagster", "pyarrow"),
        "days": count,
        "rows": {name: rows for name, (rows, _) in sorted(one.items())},
        "steps": [each | {"sprints": vars(each["sprints"])} for each in steps],
    }
    print(f"{figures['machine']}, {figures['versions']}")
    write_json(document, figures)


if __name__ == "__main__":
    main()
