"""Commands of `mission` for whoever writes a price book: rate and preview. Each imports what it needs when it runs."""

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.errors import FAILED, MissionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mc_pipelines.rating.book import Book
    from mc_pipelines.rating.lines import Line, Segment, Usage
    from mc_pipelines.rating.plans import AnyCharge

MOST_SHOWN = 10
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@click.command()
@click.option("--price", "file", type=click.Path(path_type=Path), required=True, help="The price book's file.")
@click.option("--plan", help="A plan of it (default: the only one).")
@click.option("--charge", help="A charge of the plan (default: the only one).")
@click.option("--quantity", "quantities", multiple=True, metavar="N", help="The quantity; for a matrix VALUE/VALUE=N, repeated.")
@click.option("--event", "events", multiple=True, metavar="V", help="The value of an event, for a percentage charge; repeated, in order.")
@click.option("--days", default="1/1", show_default=True, metavar="D/OF", help="Days of a part period out of the period's.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON.")
def rate(
    file: Path, plan: str | None, charge: str | None, quantities: tuple[str, ...], events: tuple[str, ...], days: str, as_json: bool
) -> None:
    """Show the lines of a charge for a quantity or for events. Example: mission rate --price book.yaml --charge api --quantity 1500"""
    from mc_pipelines.rating.book import read_book
    from mc_pipelines.rating.display import line_json
    from mc_pipelines.rating.invoice import rate as rate_charge

    book = read_book(file)
    plan = plan or _only("plan", list(book.plans), file)
    if plan not in book.plans:
        raise MissionError(f"{file}: it has no plan {plan!r}. Name one of {', '.join(book.plans)}.")
    by_id = {each.id: each for each in book.plans[plan].charges}
    charge = charge or _only("charge", list(by_id), file)
    if charge not in by_id:
        raise MissionError(f"{file}: plan {plan} has no charge {charge!r}. Name one of {', '.join(by_id)}.")
    lines = rate_charge(book, plan, charge, _usage(by_id[charge], quantities, events), _part(days))
    if as_json:
        click.echo(json.dumps([line_json(line) for line in lines], ensure_ascii=False))
    else:
        _print(book, plan, charge, lines)


def _only(what: str, names: list[str], file: Path) -> str:
    if len(names) > 1:
        raise MissionError(f"{file}: there are {len(names)} {what}s. Name one with --{what}: {', '.join(names)}.")
    return names[0]


def _usage(charge: "AnyCharge", quantities: tuple[str, ...], events: tuple[str, ...]) -> "Usage":
    """What the options say, in the form that the charge's model takes. MissionError for the wrong one."""
    from mc_pipelines.rating.lines import Event
    from mc_pipelines.rating.plans import Flat, Matrix, Percentage

    wanted, others = ("--event", quantities) if isinstance(charge, Percentage) else ("--quantity", events)
    if others or (isinstance(charge, Flat) and quantities):
        takes = "no usage" if isinstance(charge, Flat) else f"{wanted}, for example {wanted} 12.50"
        raise MissionError(f"charge {charge.id} is {charge.model}: it takes {takes}.")
    if isinstance(charge, Flat):
        return None
    if isinstance(charge, Percentage):
        return [Event((f"{place:09}",), _number("--event", text)) for place, text in enumerate(events)]
    if isinstance(charge, Matrix):
        pairs = [text.rpartition("=") for text in quantities]
        return {tuple(values.split("/")): _number("--quantity", number) for values, _, number in pairs}
    if len(quantities) != 1:
        raise MissionError(f"charge {charge.id} takes one quantity, for example --quantity 1500; {len(quantities)} given.")
    return _number("--quantity", quantities[0])


def _number(option: str, text: str) -> Decimal:
    if not NUMBER.fullmatch(text):
        raise MissionError(f"{option} {text}: no plain decimal. Write digits with a point, for example 1500 or 12.50.")
    return Decimal(text)


def _part(days: str) -> "Segment":
    from mc_pipelines.rating.lines import Segment

    part, _, whole = days.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 0 < int(part) <= int(whole)):
        raise MissionError(f"--days {days}: write days of the part and of the period, for example 10/31.")
    return Segment(None, None, int(part), int(whole))


def _print(book: "Book", plan: str, charge: str, lines: "tuple[Line, ...]") -> None:
    from mc_pipelines.rating.display import number_text, table, total_of
    from mc_pipelines.rating.money import total

    click.echo(f"{charge} of plan {plan}, {book.price_book} {book.version}")
    for row in table(lines):
        click.echo(row)
    if used := total(line.allowance_used for line in lines):
        click.echo(f"allowance used {number_text(used)}")
    click.echo(f"net {total_of(lines)} {book.currency}")


@click.command()
@click.argument("month")
@click.option("--price-book", "draft", type=click.Path(path_type=Path), required=True, help="The draft's file.")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Folder for page and JSON (default: what-if/ in the home).")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def preview(month: str, draft: Path, folder: Path | None, as_json: bool) -> None:
    """Rate the usage of MONTH under a draft of a price book, and compare; nothing is published. Example: mission preview 2026-04 --price-book draft.yaml

    The draft stands in for all versions of the price book that it names, for the whole month. Exit code 1 where a tenant that has an
    invoice now would have none.
    """
    from mc_pipelines.home import Home
    from mc_pipelines.invoicing.what_if import what_if
    from mc_pipelines.site.build import canonical_json, replace, what_if_page

    home = Home.find()
    compared = what_if(home, month, draft)
    name = f"{month}-{compared['draft']['price_book']}-{compared['draft']['sha256'][:12]}"
    page = (folder or home.root / "what-if") / f"{name}.html"
    replace(page.with_suffix(".json"), canonical_json(compared))
    replace(page, what_if_page(compared))
    if as_json:
        click.echo(json.dumps(compared, ensure_ascii=False))
    else:
        _print_comparison(compared)
        click.echo(f"page  {page}")
    lost = [row for row in compared["tenants"] if row["before"] is not None and row["after"] is None]
    sys.exit(FAILED if lost else 0)


def _print_comparison(compared: "Mapping[str, Any]") -> None:
    """The largest changes, what cannot be rated, and the total."""
    from rich.console import Console
    from rich.table import Table

    draft, currency = compared["draft"], compared["currency"]
    title = f"{compared['period']} under {draft['price_book']} {draft['version']}, net in {currency}"
    table = Table("tenant", "now", "draft", "difference", title=title, title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    moved = [row for row in compared["tenants"] if row["difference"] is not None and Decimal(row["difference"])]
    moved.sort(key=lambda row: -abs(Decimal(row["difference"])))
    for row in moved[:MOST_SHOWN]:
        table.add_row(row["tenant_id"], row["before"]["net"], row["after"]["net"], row["difference"])
    if len(moved) > MOST_SHOWN:
        table.add_row(f"{len(moved) - MOST_SHOWN} more", "", "", "")
    total = compared["total"]
    table.add_row(f"all {total['tenants']}", total["before"], total["after"], total["difference"], style="bold")
    Console().print(table)
    for row in compared["tenants"]:
        for problem in row["problems_after"]:
            click.echo(f"blocked: {row['tenant_id']}: {problem}")


COMMANDS = (rate, preview)
