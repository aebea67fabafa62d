"""Locked invoices as entries of a general ledger: a CSV by a declared mapping of accounts, which balances per invoice.

What is booked is what was locked; nothing is computed here but sums. Accounts are declared in `reference/accounts.yaml`.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import Field

from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.invoicing.documents import guarded
from mc_pipelines.rating.display import money_of
from mc_pipelines.rating.money import EXACT, ZERO, total
from mc_pipelines.reference import Declared, read_one

COLUMNS = ("period", "tenant", "invoice", "account", "debit", "credit", "currency", "text")
Booking = tuple[str, Decimal, str]
"""Account, amount (debit positive, credit negative), text."""


class Accounts(Declared):
    """Account numbers as the ledger has them. `meters` and `taxes` name those that are not booked on `revenue` and `tax`."""

    receivable: str = Field(min_length=1)
    revenue: str = Field(min_length=1)
    tax: str = Field(min_length=1)
    prepaid: str = Field(min_length=1)
    meters: Mapping[str, str] = Field(default_factory=dict)
    taxes: Mapping[str, str] = Field(default_factory=dict)


def accounts_file(home: Home) -> Path:
    return home.reference / "accounts.yaml"


def read_accounts(home: Home) -> Accounts:
    """`reference/accounts.yaml`. MissionError with file, line and remedy where it is absent or wrong."""
    path = accounts_file(home)
    if not there(path):
        raise MissionError(
            f"{path}: missing. Declare receivable, revenue, tax and prepaid: account numbers of your ledger (docs/month-end.md)."
        )
    return read_one(path, Accounts)


def corrections_of(rated: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The corrections of an invoice; none where it was locked before there were any."""
    found: Sequence[Mapping[str, Any]] = rated.get("corrections", ())
    return found


def bookings(rated: Mapping[str, Any], accounts: Accounts) -> list[Booking]:
    """The entries of one invoice (the member `rated` of a preview): what is receivable against revenue, tax and prepaid credit.

    They add up to 0; corrections of earlier periods are entries of their own. MissionError where they do not.
    """
    period = rated["period"]["name"]
    totals = {name: Decimal(value) for name, value in rated["totals"].items()}
    found: list[Booking] = [(accounts.receivable, totals["payable"], f"invoice of {period}")]
    found.append((accounts.prepaid, EXACT.minus(totals["credits_used"]), "prepaid credit used"))
    for part, about in ((rated, ""), *((each, f" of {each['original_period']}") for each in corrections_of(rated))):
        found += _earned(part["lines"], accounts, about)
        found += [
            (
                accounts.taxes.get(each["tax"], accounts.tax),
                EXACT.minus(Decimal(each["amount"])),
                f"{each['tax']} {each['percent']} %{about}",
            )
            for each in part["taxes"]
        ]
    if rest := total(amount for _, amount, _ in found):
        raise MissionError(f"invoice of {rated['tenant_id']} {period}: its bookings differ by {rest}; nothing is published.")
    return [each for each in found if each[1]]


def _earned(lines: Sequence[Mapping[str, Any]], accounts: Accounts, about: str) -> list[Booking]:
    """Revenue by account and meter."""
    found: dict[tuple[str, str], Decimal] = {}
    for line in lines:
        meter = line["meter"] or "fees"
        where = (accounts.meters.get(meter, accounts.revenue), f"{meter}{about}")
        found[where] = EXACT.add(found.get(where, ZERO), Decimal(line["net"]))
    return [(account, EXACT.minus(amount), text) for (account, text), amount in sorted(found.items())]


def ledger_csv(invoices: Sequence[tuple[str, Mapping[str, Any]]], accounts: Accounts) -> bytes:
    """All bookings as CSV (RFC 4180), an amount in the column of its side. `invoices` are numbers with what was rated."""
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(row for number, rated in invoices for row in _rows(number, rated, accounts))
    return out.getvalue().encode()


def _rows(number: str, rated: Mapping[str, Any], accounts: Accounts) -> Iterator[list[str]]:
    about = [rated["period"]["name"], guarded(rated["tenant_id"]), number]
    for account, amount, text in bookings(rated, accounts):
        sides = [money_of(abs(amount), rated["currency"]) if side else "" for side in (amount > 0, amount < 0)]
        yield [*about, guarded(account), *sides, rated["currency"], guarded(text)]
