"""The difference between two ratings of one period, per line and per tax: what a late event adds to a bill, or takes off it.

Invoices come as `rating.display.invoice_json` writes them, and a correction has lines and taxes of the same form, so that a correction can be
added to what it corrected and the sum be corrected again. Pure; nothing is rated here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.rating.display import money_of, number_text
from mc_pipelines.rating.money import EXACT, ZERO, total

MONEY = ("amount", "line_discount", "invoice_discount", "net", "tax_amount")
QUANTITIES = ("quantity", "allowance_used")
ADDED = (*MONEY, *QUANTITIES)
"""Fields of a line that are subtracted. All others say which line it is."""
RATED = ("currency", "policy", "lines", "taxes", "subtotal", "discount", "net", "total")
"""What rating makes of usage and prices. Credits and corrections depend on other months and are no part of it."""
Document = Mapping[str, Any]


@dataclass
class Standing:
    """What was billed for a period: amounts by line and by tax rate, over an invoice and its corrections so far."""

    lines: dict[str, dict[str, Decimal | None]] = field(default_factory=dict)
    about: dict[str, Document] = field(default_factory=dict)
    taxes: dict[tuple[str, str], tuple[Decimal, Decimal]] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Iterable[Document]) -> "Standing":
        """The sum of an invoice and corrections of it, in any order."""
        found = cls()
        for document in documents:
            found._add(document)
        return found

    def _add(self, document: Document) -> None:
        for line in document["lines"]:
            name = named(line)
            own = self.lines.setdefault(name, dict.fromkeys(ADDED))
            self.about.setdefault(name, line)
            for each in ADDED:
                own[each] = _plus(own[each], line[each])
        for tax in document["taxes"]:
            base, amount = self.taxes.get((tax["tax"], tax["percent"]), (ZERO, ZERO))
            found = EXACT.add(base, Decimal(tax["base"])), EXACT.add(amount, Decimal(tax["amount"]))
            self.taxes[tax["tax"], tax["percent"]] = found


def named(line: Document) -> str:
    """All that says which line of a period it is, as canonical JSON."""
    return canonical({name: value for name, value in line.items() if name not in (*ADDED, "event_count")}).decode()


def _plus(amount: Decimal | None, text: str | None) -> Decimal | None:
    """None is no amount, which is not 0: a flat fee has no quantity, and tax may be rounded per document."""
    if text is None:
        return amount
    return EXACT.add(amount or ZERO, Decimal(text))


def difference(new: Document, standing: Standing, currency: str) -> dict[str, Any] | None:
    """What `new` has more than `standing`: {net, tax, total, lines, taxes}, amounts as text, negative for a credit. None where nothing differs.

    Lines come in the order of the new invoice, then those that it has no more.
    """
    rated = Standing.of([new])
    lines = []
    for name in [*rated.lines, *(name for name in standing.lines if name not in rated.lines)]:
        now, before = rated.lines.get(name, {}), standing.lines.get(name, {})
        changed = {each: _minus(now.get(each), before.get(each)) for each in ADDED}
        if any(changed[each] for each in MONEY):
            about = rated.about.get(name) or standing.about[name]
            lines.append({**about, **_text(changed, currency)})
    taxes = []
    for rate in [*rated.taxes, *(rate for rate in standing.taxes if rate not in rated.taxes)]:
        pairs = zip(rated.taxes.get(rate, (ZERO, ZERO)), standing.taxes.get(rate, (ZERO, ZERO)), strict=True)
        base, amount = (EXACT.subtract(now, before) for now, before in pairs)
        if base or amount:
            taxes.append({"tax": rate[0], "percent": rate[1], "base": money_of(base, currency), "amount": money_of(amount, currency)})
    if not lines and not taxes:
        return None
    net, tax = total(Decimal(line["net"]) for line in lines), total(Decimal(each["amount"]) for each in taxes)
    sums = {"net": net, "tax": tax, "total": EXACT.add(net, tax)}
    return {name: money_of(amount, currency) for name, amount in sums.items()} | {"lines": lines, "taxes": taxes}


def _minus(now: Decimal | None, before: Decimal | None) -> Decimal | None:
    return None if now is None and before is None else EXACT.subtract(now or ZERO, before or ZERO)


def _text(changed: Mapping[str, Decimal | None], currency: str) -> dict[str, str | None]:
    money = {each: None if (amount := changed[each]) is None else money_of(amount, currency) for each in MONEY}
    return money | {each: number_text(changed[each]) for each in QUANTITIES}


def drifted(locked: Document | None, again: Document | None) -> int:
    """How many lines of two ratings of the same inputs differ, byte for byte; at least 1 where anything of what is rated does."""
    if locked is None or again is None:
        return 0 if locked is again else 1
    one, other = ([canonical(line) for line in each["lines"]] for each in (locked, again))
    differing = sum(one[place : place + 1] != other[place : place + 1] for place in range(max(len(one), len(other))))
    same = all(canonical(locked[name]) == canonical(again[name]) for name in RATED)
    return max(differing, 0 if same else 1)
