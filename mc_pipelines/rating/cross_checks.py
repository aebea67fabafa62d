"""What shows only when price books, meters, tenants and subscriptions are read together. One line a problem, with file and line.

What is wrong within one file is said where it is read (`book.py`, `subscriptions.py`).
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from mc_pipelines import reference
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.rating.book import Book, read_books
from mc_pipelines.rating.declared import Where, line_of, load
from mc_pipelines.rating.plans import Counted, Matrix, Metered, Percentage
from mc_pipelines.rating.segments import in_force
from mc_pipelines.rating.subscriptions import Credit, Held, Subscription, by_tenant, held, instant_of, read_credits, read_subscriptions
from mc_pipelines.reference import Meter, Tenant

Books = Mapping[Path, Book]
ADDITIVE = frozenset({"count", "sum", "weighted_sum"})
"""Aggregations whose parts of a period add up to the whole."""


def problems(home: Home) -> list[str]:
    """All problems of a home's price books, subscriptions and credits, each naming file, line, value and remedy; empty when there are none.

    A home without price books, subscriptions and credits has none. MissionError where one of these, meters or tenants cannot be read.
    """
    books, subscriptions, prepaid = read_books(home), read_subscriptions(home), read_credits(home)
    if not (books or subscriptions or prepaid):
        return []
    meters = {meter.meter: meter for meter in reference.read(home, "meters")}
    tenants = {tenant.tenant_id: tenant for tenant in reference.read(home, "tenants")}
    found = [line for path, book in books.items() for line in of_book(path, book, meters)]
    found += [*_versions(books), *_counted_twice(books, meters)]
    return [
        *found,
        *(_unpriced(home, meters, books) if books else ()),
        *_subscribed(home, tenants, subscriptions, books),
        *_plans(home, tenants, subscriptions, books),
        *_credits(home, tenants, prepaid),
    ]


def of_book(path: Path, book: Book, meters: Mapping[str, Meter]) -> Iterator[str]:
    """What a price book says of meters and dimensions that there are not."""
    for name, plan in book.plans.items():
        for place, charge in enumerate(plan.charges):
            if isinstance(charge, Metered):
                yield from _of_charge(path, ("plans", name, "charges", place), charge, meters)


def _of_charge(path: Path, at: Where, charge: Metered, meters: Mapping[str, Meter]) -> Iterator[str]:
    meter = meters.get(charge.meter)
    if meter is None:
        line = line_of(path, (*at, "meter"))
        yield f"{path}:{line}: charge {charge.id}: meter {charge.meter!r} is not in meters.yaml. It has {', '.join(meters)}."
        return
    named = [(dimension, "filter") for dimension in charge.filter]
    if isinstance(charge, Matrix):
        named += [(dimension, "dimensions") for dimension in charge.dimensions]
    for dimension, key in named:
        if dimension not in meter.dimensions:
            line = line_of(path, (*at, key))
            yield (
                f"{path}:{line}: charge {charge.id}: {dimension!r} is no dimension of meter {meter.meter}, "
                f"which has {', '.join(meter.dimensions) or 'none'}. Add it in meters.yaml, or take it out here."
            )
    if isinstance(charge, Percentage) and meter.value is None:
        line = line_of(path, (*at, "meter"))
        yield f"{path}:{line}: charge {charge.id}: meter {meter.meter} has no value per event to take a percentage of. Name one that has."


def _versions(books: Books) -> Iterator[str]:
    """Versions of one book that cannot stand side by side."""
    ordered = sorted(books.items(), key=lambda pair: (pair[1].price_book, pair[1].since, pair[0]))
    for place, (path, book) in enumerate(ordered):
        for earlier, other in ordered[:place]:
            if other.price_book != book.price_book:
                continue
            if other.since == book.since:
                yield f"{path}:{line_of(path, ('effective',))}: {earlier.name} is effective at the same instant. Change one of the two."
            if other.version == book.version:
                yield f"{path}:{line_of(path, ('version',))}: {earlier.name} is version {book.version} too. Give this one another."
            if other.currency != book.currency:
                line = line_of(path, ("currency",))
                yield f"{path}:{line}: {earlier.name} is in {other.currency}. A price book keeps its currency; give this one another price_book."


def _counted_twice(books: Books, meters: Mapping[str, Meter]) -> Iterator[str]:
    """Charges that a version changes and whose tiers go on, on meters whose parts do not add up to the whole: items of both parts count twice."""
    ordered = sorted(books.items(), key=lambda pair: (pair[1].price_book, pair[1].since))
    for (_, before), (path, book) in pairwise(ordered):
        if before.price_book != book.price_book or book.cumulative_tiers == "restart":
            continue
        for name, plan in book.plans.items():
            was = {charge.id: charge for charge in before.plans[name].charges} if name in before.plans else {}
            for place, charge in enumerate(plan.charges):
                meter = meters.get(charge.meter) if isinstance(charge, Counted) else None
                if meter and meter.aggregation not in ADDITIVE and was.get(charge.id, charge) != charge:
                    yield (
                        f"{path}:{line_of(path, ('plans', name, 'charges', place))}: charge {charge.id} changes, and the parts of a "
                        f"{meter.aggregation} do not add up. Write cumulative_tiers: restart, or leave it as it is in {before.version}."
                    )


def _unpriced(home: Home, meters: Mapping[str, Meter], books: Books) -> Iterator[str]:
    """Meters whose usage nobody could be billed for."""
    plans = [plan for book in books.values() for plan in book.plans.values()]
    priced = {charge.meter for plan in plans for charge in plan.charges if isinstance(charge, Metered)}
    for name, meter in meters.items():
        if name not in priced:
            at = reference.line_of(home, "meters", meter)
            yield f"{at}: meter {name}: no price book has a charge for it, so its usage blocks the close. Add one; its price may be 0."


def _subscribed(home: Home, tenants: Mapping[str, Tenant], subscriptions: list[Subscription], books: Books) -> Iterator[str]:
    path = home.reference / "subscriptions.yaml"
    for number, each in enumerate(subscriptions):
        if said := _unusable(each, tenants, books):
            key, message = said
            yield f"{path}:{line_of(path, ('subscriptions', number, key))}: {message}"


def _unusable(each: Subscription, tenants: Mapping[str, Tenant], books: Books) -> tuple[str, str] | None:
    """(key, what is wrong with it) of a subscription that nobody could rate."""
    tenant = tenants.get(each.tenant_id)
    if tenant is None:
        return "tenant_id", f"tenant {each.tenant_id!r} is not declared. Add it to the tenants, or take this out."
    own = [book for book in books.values() if book.price_book == each.price_book]
    if not own:
        known = sorted({book.price_book for book in books.values()})
        return "price_book", f"no price book is called {each.price_book!r}; there are {', '.join(known) or 'none'}."
    if tenant.currency != own[0].currency:
        return (
            "price_book",
            f"{each.price_book} is in {own[0].currency}, tenant {each.tenant_id} in {tenant.currency}. Name a book of that currency.",
        )
    start = instant_of(each.from_, ZoneInfo(tenant.zone))
    first = in_force(books, each.price_book, start)
    if first is None:
        return "from", f"no version of {each.price_book} is in force at {start.isoformat()}Z. Begin later, or let a version begin earlier."
    return None if each.plan in first.plans else ("plan", _lacks(first, each.plan, each.tenant_id))


def _lacks(book: Book, plan: str, tenant: str) -> str:
    return f"{book.price_book} {book.version} offers no plan {plan!r}, which tenant {tenant} has. It offers {', '.join(book.plans)}."


def _plans(home: Home, tenants: Mapping[str, Tenant], subscriptions: list[Subscription], books: Books) -> Iterator[str]:
    """Tenants whose plans contradict each other, or that no book offers, or no longer."""
    path, declared, grouped = home.reference / "subscriptions.yaml", reference.file_of(home, "tenants"), by_tenant(subscriptions)
    for name, tenant in tenants.items():
        own = grouped.get(name, [])
        try:
            dropped = [_lacks(book, each.plan, name) for each in held(tenant, own, books) if (book := _dropping(each, books))]
        except MissionError as error:
            dropped = [str(error)]
        for message in dropped:
            at = f"{path}:{line_of(path, ('subscriptions', subscriptions.index(own[0])))}" if own else _place(declared, name)
            yield f"{at}: {message}"
        plans = sorted({each.plan for each in own})
        if own and tenant.plan not in plans:
            yield (
                f"{_place(declared, name)}: tenant {name} has plan {tenant.plan} here and {', '.join(plans)} in subscriptions.yaml. "
                "Name one of those here."
            )


def _dropping(each: Held, books: Books) -> Book | None:
    """The first version without a plan that an earlier one offers, while somebody holds it."""
    own = sorted((book for book in books.values() if book.price_book == each.price_book), key=lambda book: book.since)
    offered = False
    for book in own:
        if offered and each.plan not in book.plans and each.holds(book.since):
            return book
        offered = offered or each.plan in book.plans
    return None


def _place(path: Path, tenant: str) -> str:
    """File and line of a tenant's plan; of a CSV the file alone."""
    if path.suffix == ".csv":
        return str(path)
    number = next(number for number, item in enumerate(load(path)["tenants"]) if item["tenant_id"] == tenant)
    return f"{path}:{line_of(path, ('tenants', number, 'plan'))}"


def _credits(home: Home, tenants: Mapping[str, Tenant], prepaid: list[Credit]) -> Iterator[str]:
    path = home.reference / "credits.yaml"
    for number, each in enumerate(prepaid):
        tenant = tenants.get(each.tenant_id)
        if tenant is None:
            line = line_of(path, ("credits", number, "tenant_id"))
            yield f"{path}:{line}: tenant {each.tenant_id!r} is not declared. Add it to the tenants, or take this out."
        elif tenant.currency != each.currency:
            line = line_of(path, ("credits", number, "currency"))
            yield f"{path}:{line}: a credit in {each.currency} for tenant {each.tenant_id}, who is billed in {tenant.currency}. Give it in {tenant.currency}."
