"""What is waived, as `mission` asks, signs and shows it. Each command imports what it needs when it runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.cli_close import close_at, close_now
from mc_pipelines.cli_sign import A_PATH, key_option, request_option, signed_or_kept
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mc_pipelines.gates import GateResult


@dataclass(frozen=True)
class Waived:
    """The gates that are waived, and every waiver of what failed, also those that have expired or are for some tenants only."""

    gates: frozenset[str]
    waivers: "list[dict[str, Any]]"

    def shown(self, result: "GateResult") -> str:
        return "waived" if result.gate in self.gates else result.status


def waived_now(home: Home, month: str, results: "Iterable[GateResult]") -> Waived:
    """What is waived of results that failed as they did in the month's newest edition."""
    close = close_now(home, month)
    failures = close.newest.failures if close.editions else {}
    same = {each.gate for each in results if each.failure is not None and failures.get(each.gate) == each.failure}
    return Waived(close.waived & same, [each for each in close.waivers_shown() if each["gate"] in same])


@click.command()
@click.argument("month")
@click.argument("gate", required=False)
@click.option("--rationale", default="", help="Why what failed may stand.")
@click.option("--owner", default="", help="Who answers for it, for example team:sre.")
@click.option("--expires", default="", metavar="YYYY-MM-DD", help="The last day, in UTC, on which it holds.")
@click.option("--tenant", "tenants", multiple=True, metavar="T", help="Only this tenant of those that the gate holds; repeated.")
@click.option("--explained", is_flag=True, help="No gate, but what reference/explained.yaml explains of this month.")
@click.option("--signed", type=A_PATH, help="A waiver that somebody has signed with `mission sign`.")
@key_option
@request_option
def waive(
    month: str,
    gate: str | None,
    rationale: str,
    owner: str,
    expires: str,
    tenants: tuple[str, ...],
    explained: bool,
    signed: Path | None,
    key: Path | None,
    only_request: bool,
) -> None:
    """Waive what GATE found in MONTH's newest edition, with your own SSH key, for a time.

    Example: mission waive 2026-04 metering_conflicts --rationale "settled by hand" --owner team:sre --expires 2026-05-31

    It is bound to the figures that failed: other figures fail anew, and after its last day the same do. A waived gate is never shown as passed.
    """
    from mc_pipelines.closing.waive import waive as take
    from mc_pipelines.closing.waive import waiver_request
    from mc_pipelines.closing.waivers import Waiver, line_of

    home = Home.find()
    if explained:
        _sign_explanations(home, month, signed, key, only_request)
        return
    if signed is None:
        if gate is None:
            raise MissionError("name the gate that failed, a signed waiver with --signed, or --explained")
        from mc_pipelines.journaling import requester

        data = waiver_request(close_at(home, month), gate, list(tenants) or None, rationale, owner, expires, requester())
        signed = signed_or_kept(home, f"waiver-{month}-{gate}", data, key, only_request)
        if signed is None:
            return
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.journaling import journal_of
    from mc_pipelines.showing import show_board, show_month

    entry = take(journal_of(home), read_people(home), signed.read_bytes(), str(signed))
    click.echo(f"entry {entry.number}: {entry.body['person']} waived {entry.body['gate']} of {entry.body['period']}")
    click.echo(line_of(Waiver.read(entry).document() | {"state": "stands"}))
    show_month(home, entry.body["period"])
    show_board(home, entry.body["period"])


def _sign_explanations(home: Home, month: str, signed: Path | None, key: Path | None, only_request: bool) -> None:
    from mc_pipelines.closing.explanations import explain, explanation_request, signatures
    from mc_pipelines.evidence.people import read_people
    from mc_pipelines.journaling import journal_of, requester
    from mc_pipelines.reference import read
    from mc_pipelines.windows import month_key

    journal = journal_of(home)
    if signed is None:
        period = month_key(month)[:7]
        data = explanation_request(list(read(home, "explained")), signatures(journal.entries()), period, requester())
        signed = signed_or_kept(home, f"explained-{month}", data, key, only_request)
        if signed is None:
            return
    entry = explain(journal, read_people(home), signed.read_bytes(), str(signed))
    body = entry.body
    click.echo(f"entry {entry.number}: {body['person']} signed {len(body['explained'])} explanation(s) of {body['period']}")
    click.echo(f"next     mission close {body['period']}")


COMMANDS = (waive,)
