"""The commands that judge and sign: close, attempt and gates; and what they and the demo share, a job run with progress and gates as a table.

Exit codes as in cli.py: 1 where a critical gate neither passed nor is waived.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines import cli_waive
from mc_pipelines.errors import FAILED, MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mc_pipelines.attempts import Attempt
    from mc_pipelines.gates import GateResult
    from mc_pipelines.orchestra import Ran

METERING = "metering"


def say(line: str) -> None:
    """One progress line on stderr."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"  {line}", markup=False)


def ran_job(home: Home, job: str, windows: list[str]) -> "Ran":
    from mc_pipelines.orchestra import run_job

    say(f"{job}: {windows[0]}..{windows[-1]}")
    return run_job(home, job, windows, say)


def run_windows(home: Home, job: str, windows: list[str]) -> None:
    ran = ran_job(home, job, windows)
    if not ran.ok:
        raise MissionError(
            f"run {ran.run_id} of {job} failed:\n"
            + "\n".join(ran.problems)
            + "\nThe last good state stands. Mend the cause and run the same command again."
        )


def attempted(home: Home, deliverable: str, name: str) -> "Attempt":
    """Build, sign and show a window in a run of its own, then tell what stands."""
    from dataclasses import replace

    from mc_pipelines.attempts import attempts, standing
    from mc_pipelines.catalog import read_catalog
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.windows import job_of, window_named

    every = read_catalog(home).exit_of(deliverable).every
    window, journal, pages_before = window_named(home, every, name), journal_at_hand(home), _pages(home)
    tried = attempts(journal, deliverable, window.name) if journal else []
    run_windows(home, job_of(deliverable, every), [window.key])
    done = standing(home, deliverable, window.name)
    pages = [home.site / path for path, digest in _pages(home).items() if pages_before.get(path) != digest]
    return replace(done, fresh=not tried or done.bundle != home.evidence / str(tried[-1]["bundle"]), pages=pages)


def _pages(home: Home) -> dict[str, str]:
    from hashlib import sha256

    return {
        path.relative_to(home.site).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.site.rglob("*"))
        if path.is_file()
    }


def verdict_line(done: "Attempt", waived: "cli_waive.Waived") -> str:
    """What the gates said, and whether waivers release it all the same."""
    from mc_pipelines.report import released

    lifted = done.verdict != "passed" and released(done.results, waived.gates)
    return f"{done.verdict}; every critical gate that did not pass is waived" if lifted else done.verdict


def print_gates(home: Home, done: "Attempt", waived: "cli_waive.Waived") -> None:
    """The gates as a table; for each that did not pass why, who owns it, its waivers, and its runbook."""
    from rich.console import Console
    from rich.table import Table

    from mc_pipelines.closing.waivers import line_of

    table = Table("gate", "observed", "threshold", "result", title=_title(done), title_justify="left")
    for result in done.results:
        shown = waived.shown(result)
        style = {"passed": "green", "failed": "red", "no_evidence": "yellow", "waived": "blue"}[shown]
        table.add_row(result.gate, result.value or "-", f"{result.bound} {result.threshold}", f"[{style}]{shown}[/]")
    Console().print(table)
    open_gates = [result for result in done.results if result.status != "passed"]
    for result in open_gates:
        click.echo(f"{waived.shown(result)}: {result.gate} ({result.owner}). {result.reason}")
        for each in waived.waivers:
            if each["gate"] == result.gate:
                click.echo(f"    {line_of(each)}")
        for row in result.offending[:3]:
            click.echo(f"    {json.dumps(row, ensure_ascii=False)}")
        if result.runbook:
            click.echo(f"    remedy: {result.runbook}")
    if any("variance" in result.gate for result in open_gates):
        _print_causes(home, done.period)


def _title(done: "Attempt") -> str:
    deliverable = next((result.deliverable for result in done.results), METERING)
    return f"Gates of {done.period}" if deliverable == METERING else f"Gates of {deliverable} {done.period}"


def _print_causes(home: Home, month: str) -> None:
    """The causes of the variance, heaviest first."""
    from mc_pipelines.close import pinned
    from mc_pipelines.engine import connect
    from mc_pipelines.report import month_views, records
    from mc_pipelines.runner import Workshop
    from mc_pipelines.windows import month_key

    shop, con = Workshop.open(home), connect()
    month_views(shop, con, month_key(month), ["metering.variance_causes"], pinned(shop))
    heaviest = records(
        con,
        "SELECT cause, meter, CAST(sum(rows) AS BIGINT) AS rows, sum(quantity) AS quantity, min(sample) AS sample FROM metering.variance_causes "
        "GROUP BY cause, meter ORDER BY sum(rows) DESC, cause, meter LIMIT 5",
    )
    for row in heaviest:
        click.echo(f"cause: {row['cause']} on {row['meter']}: {row['rows']} row(s), {row['quantity']} (for example {row['sample']})")


def attempt_json(home: Home, done: "Attempt", waived: "cli_waive.Waived") -> dict[str, Any]:
    return {
        "period": done.period,
        "edition": done.edition,
        "verdict": done.verdict,
        "digest": done.digest,
        "bundle": str(done.bundle),
        "scoreboard": str(home.site / "index.html"),
        "gates": [result.to_json() | {"waived": result.gate in waived.gates} for result in done.results],
        "waivers": waived.waivers,
    }


def waived_of(home: Home, deliverable: str, name: str, results: "Sequence[GateResult]") -> "cli_waive.Waived":
    """What is waived of a window's results; only a month's close knows waivers."""
    return cli_waive.waived_now(home, name, results) if deliverable == METERING else cli_waive.Waived(frozenset(), [])


def tell(home: Home, deliverable: str, done: "Attempt", as_json: bool) -> None:
    """Print an attempt, and end with the exit code that it asks for."""
    from mc_pipelines.report import released

    waived = waived_of(home, deliverable, done.period, done.results)
    if as_json:
        click.echo(json.dumps(attempt_json(home, done, waived)))
    else:
        print_gates(home, done, waived)
        click.echo(f"bundle   {done.bundle}\nverdict  {verdict_line(done, waived)}")
    sys.exit(0 if released(done.results, waived.gates) else FAILED)


@click.command()
@click.argument("month")
@click.option("--json", "as_json", is_flag=True, help="Print the attempt as JSON.")
def close(month: str, as_json: bool) -> None:
    """Attempt the close of MONTH: judge, sign, show. Example: mission close 2026-04"""
    home = Home.find()
    tell(home, METERING, attempted(home, METERING, month), as_json)


@click.command()
@click.argument("deliverable")
@click.argument("window")
@click.option("--json", "as_json", is_flag=True, help="Print the attempt as JSON.")
def attempt(deliverable: str, window: str, as_json: bool) -> None:
    """Attempt a WINDOW (a month, or a sprint's name) of DELIVERABLE: judge, sign, show. Example: mission attempt predictive 35"""
    home = Home.find()
    tell(home, deliverable, attempted(home, deliverable, window), as_json)


@click.command()
@click.argument("window", required=False)
@click.option("--of", "deliverable", default=METERING, show_default=True, help="The deliverable whose gates these are.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def gates(window: str | None, deliverable: str, as_json: bool) -> None:
    """Show the gates of WINDOW (default: the last attempted), evaluated now; nothing is signed. Example: mission gates 2026-04"""
    from mc_pipelines.attempts import Attempt, evaluate_window, pinned
    from mc_pipelines.gates import gates_of
    from mc_pipelines.report import released, verdict
    from mc_pipelines.runner import Workshop
    from mc_pipelines.windows import window_named

    home = Home.find()
    shop = Workshop.open(home)
    every = shop.catalog.exit_of(deliverable).every
    about = window_named(home, every, window or _last_attempted(home, deliverable))
    results = evaluate_window(shop, about, pinned(shop, deliverable), gates_of(home, deliverable))
    waived = waived_of(home, deliverable, about.name, results)
    if as_json:
        click.echo(json.dumps([result.to_json() | {"waived": result.gate in waived.gates} for result in results]))
    else:
        print_gates(home, Attempt(about.name, 0, verdict(results), results, home.evidence, "", False, ()), waived)
    sys.exit(0 if released(results, waived.gates) else FAILED)


def _last_attempted(home: Home, deliverable: str) -> str:
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.journaling import kind_of

    journal = journal_at_hand(home)
    tried = [str(entry.body["period"]) for entry in (journal.entries() if journal else ()) if entry.kind == kind_of(deliverable)]
    if not tried:
        raise MissionError(f"{home.journal}: no window of {deliverable} has been attempted here yet. Name one: mission gates 2026-04")
    return max(tried)


COMMANDS = (close, attempt, gates)
