"""The `mission` command and its everyday part: demo, run, close, gates. Each command imports what it needs when it runs.

What follows an attempt is cli_close.py and cli_waive.py, what people sign cli_sign.py and cli_packet.py, what finance does cli_finance.py, what looks at evidence
cli_evidence.py, what prepares or looks into a home cli_home.py, what helps to write prices cli_rating.py.

Exit codes: 0 done and passed, 1 done but a gate failed or evidence was refused, 2 the command could not be carried out.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines import cli_close, cli_evidence, cli_finance, cli_home, cli_packet, cli_rating, cli_sign, cli_waive
from mc_pipelines.errors import FAILED, UNUSABLE, MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.close import Attempt
    from mc_pipelines.orchestra import Ran


class Friendly(click.Group):
    """Prints a MissionError as it is, and what the system refuses in one line; ends with exit code 2, as after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MissionError as error:
            click.echo(f"mission: {error}", err=True)
        except KeyboardInterrupt:
            click.echo("mission: stopped. The last good state stands; run the same command again.", err=True)
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            click.echo(f"mission: {named}{error.strerror or error}. Mend it, and run the same command again.", err=True)
        ctx.exit(UNUSABLE)


def say(line: str) -> None:
    """One progress line on stderr."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"  {line}", markup=False)


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    from mc_pipelines.code import code_version

    if asked:
        click.echo(f"mission, version {code_version()}")
        ctx.exit()


@click.group(cls=Friendly, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_print_version, help="Show the version and exit.")
def main() -> None:
    """Close a month of usage: count it, reconcile it, judge it, sign it, show it.

    MISSION_HOME names the folder with landing/ and reference/; without it the checkout's data/ is used.
    """


@main.command()
@click.option("--fault", type=click.Choice(["late", "duplicates", "missing", "drift"]), help="Plant a fault that the gates must catch.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def demo(fault: str | None, as_json: bool) -> None:
    """Close April 2026 on the real sample. Example: mission demo --fault missing"""
    from time import monotonic

    from mc_pipelines import demo as sample
    from mc_pipelines.calendars import days
    from mc_pipelines.demo_person import sign_explanations
    from mc_pipelines.report import released

    began = monotonic()
    home = sample.home_for(Home.find(), fault)
    say("laying the samples into the landing zone")
    laid = sample.lay(home, fault)
    before = _versions(home)
    say(sign_explanations(home, laid["month"]))
    landed = sorted({path.name for path in home.landing.glob("*/????-??-??")})
    _run(home, "daily", days(landed[0], landed[-1]))
    done = _close(home, laid["month"])
    unchanged = not done.fresh and _versions(home) == before and not done.pages
    waived = cli_waive.waived_now(home, done.period, done.results)
    if not as_json:
        _print_gates(home, done, waived)
        click.echo(f"scoreboard  {home.site / 'index.html'}")
        click.echo(f"bundle      {done.bundle}")
        click.echo(
            "nothing new: no table version, no bundle, no page byte changed"
            if unchanged
            else f"attempt     {done.edition} of {done.period}"
        )
        click.echo(f"elapsed     {monotonic() - began:.1f} s")
        click.echo(f"verdict     {_verdict(done, waived)}")
    else:
        click.echo(json.dumps(_attempt_json(home, done, waived) | {"unchanged": unchanged}))
    sys.exit(0 if released(done.results, waived.gates) else FAILED)


def _versions(home: Home) -> dict[str, int | None]:
    from mc_pipelines.lake import Lake

    lake = Lake(str(home.lake))
    return {table: lake.version(table) for table in lake.tables()}


def _ran(home: Home, job: str, windows: list[str]) -> "Ran":
    from mc_pipelines.orchestra import run_job

    say(f"{job}: {windows[0]}..{windows[-1]}")
    return run_job(home, job, windows, say)


def _run(home: Home, job: str, windows: list[str]) -> None:
    ran = _ran(home, job, windows)
    if not ran.ok:
        raise MissionError(
            f"run {ran.run_id} of {job} failed:\n"
            + "\n".join(ran.problems)
            + "\nThe last good state stands. Mend the cause and run the same command again."
        )


def _close(home: Home, month: str) -> "Attempt":
    """Build, sign and show the month in a run of its own, then tell what stands."""
    from dataclasses import replace

    from mc_pipelines.close import MONTH_END, month_key, standing

    pages_before, bundle_before = _pages(home), _standing(home, month)
    _run(home, MONTH_END, [month_key(month)])
    done = standing(home, month)
    pages = [home.site / name for name, digest in _pages(home).items() if pages_before.get(name) != digest]
    return replace(done, fresh=done.bundle != bundle_before, pages=pages)


def _standing(home: Home, month: str) -> Path | None:
    """The bundle of the newest attempt at the month that counts, as the journal names it."""
    from mc_pipelines.close import attempts
    from mc_pipelines.evidence.position import journal_at_hand

    journal = journal_at_hand(home)
    tried = attempts(journal, month) if journal else []
    return home.evidence / str(tried[-1]["bundle"]) if tried else None


def _pages(home: Home) -> dict[str, str]:
    from hashlib import sha256

    return {
        path.relative_to(home.site).as_posix(): sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.site.rglob("*"))
        if path.is_file()
    }


def _verdict(done: "Attempt", waived: "cli_waive.Waived") -> str:
    """What the gates said, and whether waivers release it all the same."""
    from mc_pipelines.report import released

    lifted = done.verdict != "passed" and released(done.results, waived.gates)
    return f"{done.verdict}; every critical gate that did not pass is waived" if lifted else done.verdict


def _print_gates(home: Home, done: "Attempt", waived: "cli_waive.Waived") -> None:
    """The gates as a table; for each that did not pass why, who owns it, its waivers, and its runbook."""
    from rich.console import Console
    from rich.table import Table

    from mc_pipelines.closing.waivers import line_of

    table = Table("gate", "observed", "threshold", "result", title=f"Gates of {done.period}", title_justify="left")
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


def _print_causes(home: Home, month: str) -> None:
    """The causes of the variance, heaviest first."""
    from mc_pipelines.close import month_key, pinned
    from mc_pipelines.engine import connect
    from mc_pipelines.report import month_views, records
    from mc_pipelines.runner import Workshop

    shop, con = Workshop.open(home), connect()
    month_views(shop, con, month_key(month), ["metering.variance_causes"], pinned(shop))
    heaviest = records(
        con,
        "SELECT cause, meter, CAST(sum(rows) AS BIGINT) AS rows, sum(quantity) AS quantity, min(sample) AS sample FROM metering.variance_causes "
        "GROUP BY cause, meter ORDER BY sum(rows) DESC, cause, meter LIMIT 5",
    )
    for row in heaviest:
        click.echo(f"cause: {row['cause']} on {row['meter']}: {row['rows']} row(s), {row['quantity']} (for example {row['sample']})")


def _attempt_json(home: Home, done: "Attempt", waived: "cli_waive.Waived") -> dict[str, Any]:
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


@main.command()
@click.argument("window")
@click.option("--failed", is_flag=True, help="Only the days of the range whose last status is failed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON.")
def run(window: str, failed: bool, as_json: bool) -> None:
    """Build every daily table of DAY or FIRST..LAST. Example: mission run 2026-04-01..2026-04-30"""
    from mc_pipelines.automation import failed_days
    from mc_pipelines.calendars import days
    from mc_pipelines.landing import strays
    from mc_pipelines.reference import read_sources

    home = Home.find()
    first, to, last = window.partition("..")
    wanted = days(first, last if to else None)
    if failed:
        red = set(failed_days(home))
        wanted = [day for day in wanted if day in red]
        if not wanted and not as_json:
            click.echo("no failed day in this range")
            return
    for line in strays(home, read_sources(home)):
        say(line)
    if as_json:
        _run_json(home, wanted)
    for chunk in _contiguous(wanted):
        _run(home, "daily", chunk)
    click.echo(f"built {len(wanted)} day(s)")


def _run_json(home: Home, wanted: list[str]) -> None:
    """Build the days, print what came of it, and end with the exit code that stands in it; what follows a failed run is not begun."""
    from mc_pipelines.automation import failed_days

    runs: list[Ran] = []
    for chunk in _contiguous(wanted):
        runs.append(_ran(home, "daily", chunk))
        if not runs[-1].ok:
            break
    code = 0 if all(ran.ok for ran in runs) else UNUSABLE
    built = sorted({table for ran in runs for table in ran.built})
    done = {
        "days": wanted,
        "runs": [ran.run_id for ran in runs],
        "tables": [
            {
                "table": table,
                "windows_rebuilt": sum(ran.built.get(table, (0, 0))[0] for ran in runs),
                "rows": sum(ran.built.get(table, (0, 0))[1] for ran in runs),
            }
            for table in built
        ],
        "red_days": sorted(set(wanted) & set(failed_days(home))),
        "problems": [problem for ran in runs for problem in ran.problems],
        "exit_code": code,
    }
    click.echo(json.dumps(done, ensure_ascii=False))
    sys.exit(code)


def _contiguous(wanted: list[str]) -> list[list[str]]:
    from datetime import date, timedelta

    chunks: list[list[str]] = []
    for day in wanted:
        if chunks and date.fromisoformat(chunks[-1][-1]) + timedelta(days=1) == date.fromisoformat(day):
            chunks[-1].append(day)
        else:
            chunks.append([day])
    return chunks


@main.command()
@click.argument("month")
@click.option("--json", "as_json", is_flag=True, help="Print the attempt as JSON.")
def close(month: str, as_json: bool) -> None:
    """Attempt the close of MONTH: judge, sign, show. Example: mission close 2026-04"""
    from mc_pipelines.report import released

    home = Home.find()
    done = _close(home, month)
    waived = cli_waive.waived_now(home, done.period, done.results)
    if as_json:
        click.echo(json.dumps(_attempt_json(home, done, waived)))
    else:
        _print_gates(home, done, waived)
        click.echo(f"bundle   {done.bundle}\nverdict  {_verdict(done, waived)}")
    sys.exit(0 if released(done.results, waived.gates) else FAILED)


@main.command()
@click.argument("month", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def gates(month: str | None, as_json: bool) -> None:
    """Show the gates of MONTH (default: the last month closed), evaluated now; nothing is signed. Example: mission gates 2026-04"""
    from mc_pipelines.close import DELIVERABLE, evaluate_month, month_key, pinned
    from mc_pipelines.gates import gates_of
    from mc_pipelines.report import released, verdict
    from mc_pipelines.runner import Workshop

    home = Home.find()
    shop = Workshop.open(home)
    period = month_key(month or _last_closed(home))
    results = evaluate_month(shop, period, pinned(shop), gates_of(home, DELIVERABLE))
    waived = cli_waive.waived_now(home, period[:7], results)
    if as_json:
        click.echo(json.dumps([result.to_json() | {"waived": result.gate in waived.gates} for result in results]))
    else:
        from mc_pipelines.close import Attempt

        _print_gates(home, Attempt(period[:7], 0, verdict(results), results, home.evidence, "", False, ()), waived)
    sys.exit(0 if released(results, waived.gates) else FAILED)


def _last_closed(home: Home) -> str:
    from mc_pipelines.close import FOLDER

    months = sorted(path.name for path in (home.evidence / FOLDER).glob("????-??"))
    if not months:
        raise MissionError(f"{home.evidence / FOLDER}: no month has been closed here yet. Name one: mission gates 2026-04")
    return months[-1]


for _command in (
    *cli_close.COMMANDS,
    *cli_finance.COMMANDS,
    *cli_sign.COMMANDS,
    *cli_waive.COMMANDS,
    *cli_evidence.COMMANDS,
    *cli_home.COMMANDS,
    *cli_packet.COMMANDS,
    *cli_rating.COMMANDS,
):
    main.add_command(_command)
