"""The `mission` command and its everyday part: demo and run. Each command imports what it needs when it runs.

What judges and signs is cli_attempt.py, what follows an attempt cli_close.py and cli_waive.py, what people sign cli_sign.py, what finance does
cli_finance.py, what looks at evidence cli_evidence.py, what prepares or looks into a home cli_home.py, what helps to write prices cli_rating.py.

Exit codes: 0 done and passed, 1 done but a gate failed or evidence was refused, 2 the command could not be carried out.
"""

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines import (
    cli_attempt,
    cli_audits,
    cli_close,
    cli_edition,
    cli_evidence,
    cli_feedback,
    cli_finance,
    cli_home,
    cli_ombuds,
    cli_packet,
    cli_rating,
    cli_sign,
    cli_waive,
)
from mc_pipelines.cli_attempt import attempted, ran_job, run_windows, say
from mc_pipelines.errors import FAILED, UNUSABLE, MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mc_pipelines.attempts import Attempt
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
    from mc_pipelines.catalog import read_catalog
    from mc_pipelines.demo_person import sign_explanations, sign_packets
    from mc_pipelines.editions import publish
    from mc_pipelines.journaling import requester
    from mc_pipelines.predictive.demo import answer_audits
    from mc_pipelines.report import released

    began = monotonic()
    home = sample.home_for(Home.find(), fault)
    say("laying the samples into the landing zone")
    laid = sample.lay(home, fault)
    before = _versions(home)
    say(sign_explanations(home, laid.month))
    if "marketplace" in laid.windows:
        say(sign_packets(home))
    landed = sorted({path.name for path in home.landing.glob("*/????-??-??")})
    run_windows(home, "daily", days(landed[0], landed[-1]))
    if laid.answers is not None:
        answered = answer_audits(home, laid.windows["predictive"], laid.answers, sample.place)
        run_windows(home, "daily", days(answered[0], answered[-1]))
    for name, window in laid.windows.items():
        for document in read_catalog(home).exit_of(name).publishes:
            say(f"publishing {document} of {name} {window}: entry {publish(home, name, window, document, requester()).number}")
    tried = [(name, attempted(home, name, window)) for name, window in laid.windows.items()]
    unchanged = _versions(home) == before and not any(done.fresh or done.pages for _, done in tried)
    told = [(done, cli_attempt.waived_of(home, name, done.period, done.results)) for name, done in tried]
    ready = all(released(done.results, waived.gates) for done, waived in told)
    if as_json:
        documents = [cli_attempt.attempt_json(home, done, waived) for done, waived in told]
        click.echo(json.dumps(documents[0] | {"unchanged": unchanged, "attempts": documents[1:]}))
    else:
        for done, waived in told:
            cli_attempt.print_gates(home, done, waived)
        _conclude(home, told, unchanged)
        click.echo(f"elapsed     {monotonic() - began:.1f} s")
        click.echo(f"verdict     {'; '.join(dict.fromkeys(cli_attempt.verdict_line(*each) for each in told))}")
    sys.exit(0 if ready else FAILED)


def _conclude(home: Home, told: "Sequence[tuple[Attempt, cli_waive.Waived]]", unchanged: bool) -> None:
    click.echo(f"scoreboard  {home.site / 'index.html'}")
    for done, _ in told:
        click.echo(f"bundle      {done.bundle}")
    if unchanged:
        click.echo("nothing new: no table version, no bundle, no page byte changed")
    else:
        click.echo(f"attempt     {', '.join(f'{done.edition} of {done.results[0].deliverable} {done.period}' for done, _ in told)}")


def _versions(home: Home) -> dict[str, int | None]:
    from mc_pipelines.lake import Lake

    lake = Lake(str(home.lake))
    return {table: lake.version(table) for table in lake.tables()}


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
        run_windows(home, "daily", chunk)
    click.echo(f"built {len(wanted)} day(s)")


def _run_json(home: Home, wanted: list[str]) -> None:
    """Build the days, print what came of it, and end with the exit code that stands in it; what follows a failed run is not begun."""
    from mc_pipelines.automation import failed_days

    runs: list[Ran] = []
    for chunk in _contiguous(wanted):
        runs.append(ran_job(home, "daily", chunk))
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


for _command in (
    *cli_attempt.COMMANDS,
    *cli_audits.COMMANDS,
    *cli_edition.COMMANDS,
    *cli_ombuds.COMMANDS,
    *cli_close.COMMANDS,
    *cli_finance.COMMANDS,
    *cli_sign.COMMANDS,
    *cli_waive.COMMANDS,
    *cli_evidence.COMMANDS,
    *cli_home.COMMANDS,
    *cli_packet.COMMANDS,
    *cli_feedback.COMMANDS,
    *cli_rating.COMMANDS,
):
    main.add_command(_command)
