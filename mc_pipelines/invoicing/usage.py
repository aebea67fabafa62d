"""Quantities per charge of every tenant's month: whole periods from the month's totals, parts of a period counted anew from its events.

What the quantities cost is `batch.py`. A part of the month in which no charge covers a meter that was used is a row of its own, without charge.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.code import package_digest
from mc_pipelines.invoicing.pricing import Pricing, tenants_of
from mc_pipelines.metering import period_rows
from mc_pipelines.rating.money import EXACT, total
from mc_pipelines.rating.plans import Matrix, Metered, Percentage
from mc_pipelines.rating.scale import Span, UnpricedError
from mc_pipelines.rating.segments import spans
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.reference import Tenant
    from mc_pipelines.runner import Work, Workshop

SCHEMA = {
    "period": "DATE",
    "tenant_id": "VARCHAR",
    "charge": "VARCHAR",
    "span": "BIGINT",
    "meter": "VARCHAR",
    "item": "VARCHAR",
    "start_utc": "TIMESTAMP",
    "end_utc": "TIMESTAMP",
    "events": "BIGINT",
    "quantity": "DECIMAL",
}
PART = {name: SCHEMA[name] for name in ("period", "tenant_id", "meter", "start_utc", "end_utc")}
PARTS = """
WITH counted AS (
    SELECT parts.period, parts.tenant_id, parts.meter, parts.start_utc, parts.end_utc, meters.aggregation, used.dimension, used.item, used.id,
           used.quantity, used.occurred_at, used.ingested_at, used.occurred_at >= parts.start_utc AS inside,
           epoch_us(parts.end_utc) - greatest(used.occurred_us, epoch_us(parts.start_utc)) AS held_us,
           date_diff('microsecond', periods.start_utc, periods.end_utc) AS period_us
    FROM parts
    JOIN reference.meters AS meters ON meters.meter = parts.meter
    JOIN reference.periods AS periods ON periods.tenant_id = parts.tenant_id AND periods.period = parts.period
    JOIN metering.effective AS used
      ON used.tenant_id = parts.tenant_id AND used.meter = parts.meter AND used.occurred_at < parts.end_utc
     AND (used.occurred_at >= parts.start_utc OR meters.aggregation = 'weighted_sum')
     AND used.landing_day <= periods.cutoff_day AND used.until_day > periods.cutoff_day
)
"""
STATES = (
    PARTS
    + """
SELECT {'period': period, 'tenant_id': tenant_id, 'meter': meter, 'start_utc': start_utc, 'end_utc': end_utc} AS part,
       tenant_id, meter, dimension, any_value(aggregation),
       CAST(coalesce(count(*) FILTER (WHERE inside), 0) AS BIGINT) AS events,
       CAST(coalesce(sum(quantity) FILTER (WHERE inside), 0) AS DECIMAL(38, 9)) AS summed,
       min(quantity), max(quantity),
       first(quantity ORDER BY occurred_at DESC, ingested_at DESC NULLS FIRST, id DESC, quantity DESC) AS latest,
       count(DISTINCT item) AS items, any_value(period_us),
       CAST(coalesce(sum(CASE WHEN aggregation = 'weighted_sum' THEN CAST(quantity AS DECIMAL(20, 9)) * CAST(held_us AS DECIMAL(17, 0)) END), 0)
            AS DECIMAL(38, 9)) AS level_microseconds
FROM counted
GROUP BY period, tenant_id, meter, dimension, start_utc, end_utc
ORDER BY period, tenant_id, meter, dimension, start_utc
"""
)
VALUES = PARTS + (
    "SELECT period, tenant_id, meter, start_utc, end_utc, dimension, CAST(occurred_at AS VARCHAR) || ' ' || id AS place, quantity FROM counted "
    "WHERE inside ORDER BY period, tenant_id, meter, start_utc, end_utc, place, dimension, quantity"
)
Part = tuple[date, str, str, datetime, datetime]
"""Period, tenant, meter and instants [start, end)."""


@dataclass(frozen=True)
class Counted:
    """Events and quantity of one tuple of dimension values; `dimension` is canonical JSON, '' where the meter has none."""

    dimension: str
    events: int
    quantity: Decimal

    @property
    def values(self) -> Mapping[str, str | None]:
        return json.loads(self.dimension) if self.dimension else {}


@dataclass(frozen=True)
class Asked:
    """A tenant's month: what it is charged by, and the parts of it that no charge covers, by meter and tuple."""

    period: date
    tenant: str
    spans: Mapping[str, Sequence[Span]]
    gaps: Sequence[tuple[str, str, datetime, datetime]]
    whole: tuple[datetime, datetime]

    def parts(self) -> Iterator[Part]:
        """What is not a whole period, and percentages, whose events are counted one by one."""
        for own in self.spans.values():
            for span in own:
                if isinstance(span.charge, Metered) and _bounds(span) != self.whole:
                    yield (self.period, self.tenant, span.charge.meter, *_bounds(span))
        for meter, _, start, end in self.gaps:
            if (start, end) != self.whole:
                yield (self.period, self.tenant, meter, start, end)


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """The code behind this module that decides which charges a tenant has."""
    return package_digest("rating", "invoicing")


def charge_usage(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per tenant, charge, span and item: a tuple of a matrix, an event of a percentage, else ''. Tenants without terms have gaps only."""
    return usage_under(work, Pricing.of(work.con))


def usage_under(work: "Work", pricing: Pricing) -> "duckdb.DuckDBPyRelation":
    """As `charge_usage`, at the charges of some prices."""
    if not pricing.books:
        return relation_of(work, SCHEMA, iter(()))
    totals = _totals(work)
    by_tenant: dict[tuple[date, str], list[tuple[str, Counted]]] = {}
    for (period, tenant_id, meter, _, _), rows in totals.items():
        by_tenant.setdefault((period, tenant_id), []).extend((meter, each) for each in rows)
    asked = [
        _asked(pricing, tenant, month, bounds, by_tenant.get((month, tenant.tenant_id), ()))
        for tenant, month, bounds in tenant_months(work)
    ]
    parts = sorted({part for each in asked for part in each.parts()})
    counted = totals | (_counted(work, parts) if parts else {})
    single = sorted({part for each in asked for part in _single(each)})
    values = _values(work, single) if single else {}
    return relation_of(work, SCHEMA, (row for each in asked for row in _rows(each, counted, values)))


def tenant_months(work: "Work") -> Iterator[tuple["Tenant", date, tuple[datetime, datetime]]]:
    """Every tenant with every month of `work` and its instants [start, end), in the order of the tenants."""
    rows = work.con.sql(
        "SELECT tenant_id, period, start_utc, end_utc FROM reference.periods "
        "WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY period, tenant_id",
        params=work.params,
    ).fetchall()
    by_id = {tenant.tenant_id: tenant for tenant in tenants_of(work.con)}
    for tenant, period, start, end in rows:
        yield by_id[tenant], period, (start, end)


def _totals(work: "Work") -> dict[Part, list[Counted]]:
    """The month's totals as parts that are whole periods."""
    found: dict[Part, list[Counted]] = {}
    for period, tenant, meter, start, end, dimension, events, quantity in work.con.sql(
        "SELECT used.period, used.tenant_id, used.meter, periods.start_utc, periods.end_utc, used.dimension, used.events, used.quantity "
        "FROM metering.usage_period AS used JOIN reference.periods AS periods ON periods.tenant_id = used.tenant_id AND periods.period = used.period "
        "WHERE used.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) ORDER BY ALL",
        params=work.params,
    ).fetchall():
        found.setdefault((period, tenant, meter, start, end), []).append(Counted(dimension, events, quantity))
    return found


def _asked(
    pricing: Pricing, tenant: "Tenant", period: date, whole: tuple[datetime, datetime], used: Sequence[tuple[str, Counted]]
) -> Asked:
    try:
        by_charge = spans(pricing.terms(tenant, period, whole[1]))
    except UnpricedError:  # said once where it is rated, not again for each of its meters
        return Asked(period, tenant.tenant_id, {}, (), whole)
    gaps = [gap for meter, each in used for gap in _gaps(meter, each, by_charge, whole)]
    return Asked(period, tenant.tenant_id, by_charge, gaps, whole)


def _gaps(
    meter: str, used: Counted, by_charge: Mapping[str, Sequence[Span]], whole: tuple[datetime, datetime]
) -> Iterator[tuple[str, str, datetime, datetime]]:
    """The parts of a month in which no charge takes a tuple of a meter."""
    covering = [
        span for own in by_charge.values() for span in own if isinstance(span.charge, Metered) and takes(span.charge, meter, used.values)
    ]
    covered = sorted(_bounds(span) for span in covering)
    at = whole[0]
    for start, end in covered:
        if start > at:
            yield meter, used.dimension, at, start
        at = max(at, end)
    if at < whole[1]:
        yield meter, used.dimension, at, whole[1]


def takes(charge: Metered, meter: str, values: Mapping[str, str | None]) -> bool:
    """Whether a charge is for a meter's events with these values of its dimensions."""
    return charge.meter == meter and all(values.get(name) in allowed for name, allowed in charge.filter.items())


def _bounds(span: Span) -> tuple[datetime, datetime]:
    assert span.segment.start is not None
    assert span.segment.end is not None
    return span.segment.start, span.segment.end


def _counted(work: "Work", parts: Iterable[Part]) -> dict[Part, list[Counted]]:
    """Quantities of parts of a period, counted from the events that stand at the cut-off."""
    _register(work, parts)
    found: dict[Part, list[Counted]] = {}
    for part, _, _, dimension, events, quantity, _, _ in period_rows(work.con.sql(STATES).fetchall()):
        key = (part["period"], part["tenant_id"], part["meter"], part["start_utc"], part["end_utc"])
        found.setdefault(key, []).append(Counted(dimension, events, quantity))
    return found


def _register(work: "Work", parts: Iterable[Part]) -> None:
    relation_of(work, PART, iter(parts)).create_view("parts")


def _single(asked: Asked) -> Iterator[Part]:
    """The parts whose events are charged one by one."""
    for own in asked.spans.values():
        for span in own:
            if isinstance(span.charge, Percentage):
                yield (asked.period, asked.tenant, span.charge.meter, *_bounds(span))


def _values(work: "Work", parts: Iterable[Part]) -> dict[Part, list[tuple[str, str, Decimal]]]:
    """(dimension, place, value) of every event of these parts, in the order in which they happened."""
    _register(work, parts)
    found: dict[Part, list[tuple[str, str, Decimal]]] = {}
    for *part, dimension, place, quantity in work.con.sql(VALUES).fetchall():
        found.setdefault(tuple(part), []).append((dimension, place, quantity))
    return found


def _rows(
    asked: Asked, counted: Mapping[Part, Sequence[Counted]], values: Mapping[Part, Sequence[tuple[str, str, Decimal]]]
) -> Iterator[tuple[Any, ...]]:
    for charge, own in asked.spans.items():
        for number, span in enumerate(own):
            if isinstance(span.charge, Metered):
                part = (asked.period, asked.tenant, span.charge.meter, *_bounds(span))
                for item, events, quantity in _items(span.charge, counted.get(part, ()), values.get(part, ())):
                    yield asked.period, asked.tenant, charge, number, span.charge.meter, item, *_bounds(span), events, quantity
    for meter, dimension, start, end in asked.gaps:
        for each in counted.get((asked.period, asked.tenant, meter, start, end), ()):
            if each.dimension == dimension and (each.events or each.quantity):  # a level that was carried in has no event
                yield asked.period, asked.tenant, "", 0, meter, dimension, start, end, each.events, each.quantity


def _items(charge: Metered, counted: Sequence[Counted], values: Sequence[tuple[str, str, Decimal]]) -> Iterator[tuple[str, int, Decimal]]:
    """(item, events, quantity) of one span, as its model takes them."""
    if isinstance(charge, Percentage):
        for number, (dimension, place, quantity) in enumerate(values):
            if takes(charge, charge.meter, Counted(dimension, 1, quantity).values):
                yield f"{number:09} {place}", 1, quantity
        return
    own = [each for each in counted if takes(charge, charge.meter, each.values)]
    if not isinstance(charge, Matrix):
        yield "", sum(each.events for each in own), total(each.quantity for each in own)
        return
    cells: dict[str, tuple[int, Decimal]] = {}
    for each in own:
        key = json.dumps([each.values.get(name) or "" for name in charge.dimensions], ensure_ascii=False)
        events, quantity = cells.get(key, (0, Decimal(0)))
        cells[key] = events + each.events, EXACT.add(quantity, each.quantity)
    yield from ((item, events, quantity) for item, (events, quantity) in sorted(cells.items()))
