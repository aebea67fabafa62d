"""Which plan of which price book a tenant has, and when it changes; and its prepaid credits. Reference data, both lists optional.

A tenant without a subscription has, all the time, the plan that tenants.yaml names, in the one price book of its currency that offers it.
A tenant with subscriptions has those and nothing else; tenants.yaml then names one of their plans, which lint checks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from mc_pipelines.calendars import midnight
from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.rating.book import Book, naive
from mc_pipelines.rating.declared import DayOrInstant, Price, Priced, Text, declare, load, wrong
from mc_pipelines.rating.money import minor_units, rounded, unit_of
from mc_pipelines.rating.scale import UnpricedError
from mc_pipelines.reference import Tenant


class Subscription(Priced):
    """A tenant's plan from a local day or an instant, until another one (exclusive) or the tenant's next subscription."""

    tenant_id: Text
    plan: Text
    price_book: Text
    from_: DayOrInstant = Field(alias="from")
    until: DayOrInstant | None = None


class Credit(Priced):
    """Money that a tenant paid before. It lowers what is payable of every invoice in its currency: what earlier ones used is not known here."""

    tenant_id: Text
    amount: Price
    currency: Text
    note: Text = ""

    @model_validator(mode="after")
    def _payable(self) -> "Credit":
        try:
            digits = minor_units(self.currency)
        except MissionError as error:
            raise wrong(str(error).removesuffix("."), "currency") from error
        if self.amount != rounded(self.amount, unit_of(self.currency)):
            raise wrong(f"{self.currency} has {digits} decimals; write an amount that can be paid", "amount")
        return self


@dataclass(frozen=True, slots=True)
class Held:
    """A plan that a tenant holds over naive UTC instants [start, end); None is for ever."""

    start: datetime | None
    end: datetime | None
    plan: str
    price_book: str

    def holds(self, instant: datetime) -> bool:
        return (self.start is None or self.start <= instant) and (self.end is None or instant < self.end)


Entry = TypeVar("Entry", Subscription, Credit)


def _entries(path: Path, kind: type[Entry], text: str | None) -> list[Entry]:
    name, loaded = path.stem, load(path, text)
    if not isinstance(loaded, dict) or set(loaded) != {name} or not isinstance(loaded[name], list):
        raise MissionError(f"{path}:1: expected one key `{name}` holding a list (it may be []).")
    return [declare(path, kind, item, (name, number)) for number, item in enumerate(loaded[name])]


def parse_subscriptions(path: Path, text: str | None = None) -> list[Subscription]:
    """The subscriptions of a file in its order, or of `text` that stood in it."""
    return _entries(path, Subscription, text)


def parse_credits(path: Path, text: str | None = None) -> list[Credit]:
    """The credits of a file in its order, or of `text` that stood in it."""
    return _entries(path, Credit, text)


def read_subscriptions(home: Home) -> list[Subscription]:
    """`reference/subscriptions.yaml` in the order of the file; empty where there is none."""
    path = home.reference / "subscriptions.yaml"
    return parse_subscriptions(path) if there(path) else []


def read_credits(home: Home) -> list[Credit]:
    """`reference/credits.yaml` in the order of the file; empty where there is none."""
    path = home.reference / "credits.yaml"
    return parse_credits(path) if there(path) else []


def instant_of(moment: date | datetime, zone: ZoneInfo) -> datetime:
    """A local day's midnight, or an instant, as naive UTC."""
    if not isinstance(moment, datetime):
        return midnight(moment, zone)
    return naive(moment) if moment.tzinfo else naive(moment.replace(tzinfo=UTC))


def by_tenant(subscriptions: Sequence[Subscription]) -> dict[str, list[Subscription]]:
    """The subscriptions of each tenant, in the order of the file."""
    found: dict[str, list[Subscription]] = {}
    for each in subscriptions:
        found.setdefault(each.tenant_id, []).append(each)
    return found


def held(tenant: Tenant, subscribed: Sequence[Subscription], books: Mapping[Path, Book]) -> list[Held]:
    """The plans that a tenant holds by its own subscriptions, in time order and without overlap.

    Raises MissionError where two subscriptions overlap, or where tenants.yaml's plan is in no book of the tenant's currency, or in several.
    """
    zone = ZoneInfo(tenant.zone)
    own = sorted(((instant_of(each.from_, zone), each) for each in subscribed), key=lambda pair: pair[0])
    if not own:
        return [Held(None, None, tenant.plan, _only_book(tenant, books))]
    found = []
    for place, (start, each) in enumerate(own):
        following = own[place + 1][0] if place + 1 < len(own) else None
        end = instant_of(each.until, zone) if each.until else following
        if end is not None and (end <= start or (following is not None and end > following)):
            raise MissionError(
                f"subscriptions of {tenant.tenant_id}: {each.plan} from {each.from_} until {each.until or following} "
                f"{'overlaps the next one' if end > start else 'is empty'}. Let each begin where the one before ends."
            )
        found.append(Held(start, end, each.plan, each.price_book))
    return found


def _only_book(tenant: Tenant, books: Mapping[Path, Book]) -> str:
    offering = sorted({book.price_book for book in books.values() if book.currency == tenant.currency and tenant.plan in book.plans})
    if len(offering) != 1:
        raise UnpricedError(
            f"tenant {tenant.tenant_id}: plan {tenant.plan} in {tenant.currency} is offered by {', '.join(offering) or 'no price book'}. "
            "Offer it in one price book of this currency, or name the book in subscriptions.yaml."
        )
    return offering[0]
