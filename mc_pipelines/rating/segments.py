"""Periods by an anchor day, their whole local days, and the segments into which price versions and plan changes cut them.

Nothing is rated here: what comes out are the spans of each charge, for which somebody then counts usage.
"""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from mc_pipelines.calendars import midnight
from mc_pipelines.rating.book import Book
from mc_pipelines.rating.lines import Segment
from mc_pipelines.rating.scale import Span, UnpricedError
from mc_pipelines.rating.subscriptions import Held


@dataclass(frozen=True, slots=True)
class Term:
    """A segment in which a tenant has one plan of one version of a price book."""

    segment: Segment
    plan: str
    book: Book


def anchored(anchor: int, year: int, month: int) -> tuple[date, date]:
    """First day of the period that begins in a month, and of the next: an anchor of 31 is 31 Jan, 28 Feb, 31 Mar. 1 is calendar months."""
    following = (year + month // 12, month % 12 + 1)
    first, after = (date(y, m, min(anchor, monthrange(y, m)[1])) for y, m in ((year, month), following))
    return first, after


@lru_cache(maxsize=10_000)
def midnights(zone: str, first: date, after: date) -> tuple[datetime, ...]:
    """The instants (naive UTC) at which the local days [first, after) begin, and the one at which the last ends.

    A day that a zone skipped (Apia, 30 December 2011) has no length and is none.
    """
    place = ZoneInfo(zone)
    return tuple(sorted({midnight(first + timedelta(days=number), place) for number in range((after - first).days + 1)}))


def cut(days: Sequence[datetime], at: Iterable[datetime], until: datetime | None = None) -> list[Segment]:
    """The period over `days` (as `midnights` gives them), cut at every instant of `at` inside it; its part before `until`, where that is given.

    A local day counts for the segment in which it begins, so the days of all segments add up to the period's.
    """
    begins, ends = days[0], min(days[-1], until or days[-1])
    cuts = [begins, *sorted({instant for instant in at if begins < instant < ends}), ends]
    whole = len(days) - 1
    if len(cuts) == 2 and ends == days[-1]:
        return [Segment(begins, ends, whole, whole)]
    return [Segment(start, end, sum(start <= day < end for day in days[:-1]), whole) for start, end in pairwise(cuts)]


def in_force(books: Mapping[Path, Book], name: str, instant: datetime) -> Book | None:
    """The version of a price book that became effective last at `instant`, or None before the first."""
    begun = [book for book in books.values() if book.price_book == name and book.since <= instant]
    return max(begun, key=lambda book: book.since, default=None)


def terms(days: Sequence[datetime], plans: Sequence[Held], books: Mapping[Path, Book], until: datetime | None = None) -> list[Term]:
    """Plan and price version in each segment of a period, or of its part before `until`; a time without a plan has none.

    Raises UnpricedError where no version of the book is in force, or the version does not offer the plan.
    """
    names = {each.price_book for each in plans}
    changes = [book.since for book in books.values() if book.price_book in names]
    found = []
    changes += [instant for each in plans for instant in (each.start, each.end) if instant is not None]
    for segment in cut(days, changes, until):
        assert segment.start is not None
        for each in plans:
            if each.holds(segment.start):
                book = in_force(books, each.price_book, segment.start)
                if book is None or each.plan not in book.plans:
                    lacks = f"version {book.version} has no plan {each.plan}" if book else "no version is in force"
                    raise UnpricedError(
                        f"price book {each.price_book}: {lacks} at {segment.start.isoformat()}Z. Add it, or change the subscription."
                    )
                found.append(Term(segment, each.plan, book))
    return found


def spans(period: Sequence[Term]) -> dict[str, list[Span]]:
    """The spans of each charge in time order. Segments that change nothing for a charge are one span of it.

    So a new version that leaves a charge as it was neither restarts its tiers nor rounds it twice.
    """
    found: dict[str, list[Span]] = {}
    for term in period:
        for charge in term.book.plans[term.plan].charges:
            span = Span(charge, term.segment, term.plan, term.book)
            own = found.setdefault(charge.id, [])
            if own and _same(own[-1], span):
                before = own[-1].segment
                own[-1] = replace(own[-1], segment=replace(before, end=term.segment.end, days=before.days + term.segment.days))
            else:
                own.append(span)
    return found


def _same(one: Span, other: Span) -> bool:
    """Whether `other` goes on where `one` ends, under the same terms."""
    where = (one.plan, one.book.price_book, one.segment.end) == (other.plan, other.book.price_book, other.segment.start)
    return where and one.charge == other.charge and _tax(one) == _tax(other)


def _tax(span: Span) -> tuple[str | None, object]:
    name = span.charge.tax or span.book.plans[span.plan].tax
    return name, span.book.taxes.get(name) if name else None
