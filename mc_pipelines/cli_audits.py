"""Audits of predictive decisions on the command line: publish a seed, see the plan, write the worklists. Each command imports what it needs.

Verdicts come back as landed files of the source `audits`.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.windows import Window


@click.group()
def audits() -> None:
    """Sample decisions for audit. Example: mission audits plan 35 --version 4.2.0"""


@audits.command()
@click.argument("sprint")
@click.option("--version", "model_version", required=True, help="The version of the model whose decisions are sampled.")
@click.option("--json", "as_json", is_flag=True, help="Print what was published as JSON.")
def plan(sprint: str, model_version: str, as_json: bool) -> None:
    """Publish, signed, the seed and settings of SPRINT's sample before its data; asked again, they stand. Example: mission audits plan 35 --version 4.2.0"""
    from mc_pipelines.predictive.declared import Settings, read_settings
    from mc_pipelines.predictive.sampling import proving_size, sample_size
    from mc_pipelines.predictive.seeds import differing, publish

    home = Home.find()
    entry = publish(home, sprint, model_version)
    settings = Settings.model_validate(entry.body["settings"])
    others = differing(settings, read_settings(home))
    size = sample_size(settings.expected, settings.tolerable, settings.confidence)
    told = {
        "entry": entry.number,
        "seed": entry.body["seed"],
        "signed_at": entry.signed_at.isoformat(),
        "sample_size": size,
        "proving_size": proving_size(settings.tolerable, settings.confidence),
        "settings": entry.body["settings"],
        "differing": others,
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"entry    {entry.number}, signed {told['signed_at']}\nseed     {entry.body['seed']}")
    click.echo(f"reads    {size} of a large population; fewer of a small one, as many in each stratum as its size and deviation ask for")
    if others:
        click.echo(
            f"settings those of entry {entry.number} stand; reference/audits.yaml says otherwise of {', '.join(others)}, which counts for no seed that is published"
        )


@audits.command()
@click.argument("sprint")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for one CSV per auditor; without it they are printed."
)
@click.option("--overdue", is_flag=True, help="Only reads that are open past their due instant.")
@click.option("--json", "as_json", is_flag=True, help="Print the reads as JSON.")
def worklist(sprint: str, out: Path | None, overdue: bool, as_json: bool) -> None:
    """Who reads which decision by when; a second reader sees no first verdict. Example: mission audits worklist 35 --out worklists"""
    from mc_pipelines.windows import sprint_named

    home = Home.find()
    window = sprint_named(home, sprint)
    rows = _open_reads(home, window, overdue)
    if as_json:
        click.echo(json.dumps(rows))
    elif not rows:
        click.echo(f"sprint {window.name}: {'no read is overdue' if overdue else 'every read that is drawn has its verdict'}")
    elif out is None:
        for auditor, mine in _by_auditor(rows).items():
            click.echo(f"{auditor}: {len(mine)} read(s), the first due {mine[0]['due_at']}")
            for row in mine:
                click.echo(f"  {row['due_at']}  {row['decision_id']}  {row['stratum']}  {row['reader']}")
    else:
        for path in _write(out, window, rows):
            click.echo(str(path))


def _open_reads(home: Home, window: "Window", overdue: bool) -> list[dict[str, Any]]:
    """The reads that have no verdict which counts, by auditor and due instant."""
    from mc_pipelines.engine import connect
    from mc_pipelines.report import records, some_windows
    from mc_pipelines.runner import Workshop

    shop, con = Workshop.open(home), connect()
    version = shop.lake.version("predictive.audit_reads")
    if version is None:
        raise MissionError(f"predictive.audit_reads is not built yet. Publish the seed, then: mission attempt predictive {window.name}")
    shop.lake.view(con, "predictive.audit_reads", version)
    some_windows(shop, con, "predictive.audit_reads", version, f"sprint = '{window.key}'")
    if not con.sql("SELECT 1 FROM predictive.audit_reads LIMIT 1").fetchall():
        raise MissionError(
            f"sprint {window.name}: no sample is drawn. Publish its seed (mission audits plan {window.name} --version VERSION), let its decisions "
            f"land, then: mission attempt predictive {window.name}"
        )
    return records(
        con,
        "SELECT assigned AS auditor, decision_id, listed_as, reader, stratum, tenant_id, due_at, status FROM predictive.audit_reads "
        "WHERE verdict IS NULL AND (NOT $overdue OR due_at <= CAST($as_of AS TIMESTAMP)) ORDER BY assigned, due_at, decision_id, reader",
        {"overdue": overdue, "as_of": window.as_of.removesuffix("Z")},
    )


def _by_auditor(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["auditor"], []).append(row)
    return found


def _write(out: Path, window: "Window", rows: list[dict[str, Any]]) -> list[Path]:
    """One CSV per auditor, in the columns of the source `audits`: what is still empty is what the auditor fills in."""
    import csv
    from io import StringIO

    from mc_pipelines.evidence.bundle import name_fault
    from mc_pipelines.site.build import replace

    written, lists = [], {f"{window.name}-{auditor}.csv": mine for auditor, mine in _by_auditor(rows).items()}
    for name in lists:  # all of them before the first is written, so that no half of a set is left
        if fault := name_fault(name):
            raise MissionError(f"{name}: {fault}; an auditor's name in reference/audits.yaml is part of a file's name.")
        if (out / name).is_dir():
            raise MissionError(f"{out / name}: a folder stands there. Move it, or name another folder with --out.")
    for name, mine in lists.items():
        text = StringIO(newline="")
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("decision_id", "reader", "auditor", "due_at", "completed_at", "verdict", "reason"))
        for row in mine:
            lines.writerow((row["listed_as"], row["reader"], row["auditor"], row["due_at"], "", "", ""))
        replace(out / name, text.getvalue().encode())
        written.append(out / name)
    return written


COMMANDS = (audits,)
