"""The previews of a month, read from its tables: what was rated, with the evidence of each line and the variance of each meter beside it.

How a preview looks is `documents`; which files they become, and what is said of all of them, `batch_files`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.calendars import next_month
from mc_pipelines.evidence.canonical import sha256
from mc_pipelines.invoicing.preview import Compared, Evidence, Preview, Status

if TYPE_CHECKING:
    import duckdb

USAGE = "metering.charge_usage"
RATED = """
SELECT rated.tenant_id, tenants.name, tenants.zone, rated.plan, rated.currency, rated.period, periods.start_utc, periods.end_utc,
       rated.problems, rated.invoice
FROM metering.rated AS rated
JOIN reference.tenants AS tenants ON tenants.tenant_id = rated.tenant_id
JOIN reference.periods AS periods ON periods.tenant_id = rated.tenant_id AND periods.period = rated.period
ORDER BY rated.tenant_id
"""
VARIANCE = """
SELECT variance.tenant_id, variance.meter, meters.unit, variance.metered, variance.reference, variance.delta, variance.variance_ratio,
       variance.status
FROM metering.variance AS variance JOIN reference.meters AS meters ON meters.meter = variance.meter
ORDER BY variance.tenant_id, variance.meter
"""


@dataclass(frozen=True)
class Blocked:
    """A tenant without an invoice, and why, one problem each."""

    tenant_id: str
    name: str
    plan: str
    currency: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Usage:
    """The rows of charge usage by tenant and charge: where each begins and ends, and its canonical line. `file` is their path in the bundle."""

    file: str
    lines: Mapping[tuple[str, str], Sequence[tuple[str, str, bytes]]]

    @classmethod
    def of(cls, file: str, columns: Sequence[str], rows: bytes) -> "Usage":
        """From canonical rows, one JSON array a line."""
        tenant, charge, start, end = (columns.index(name) for name in ("tenant_id", "charge", "start_utc", "end_utc"))
        found: dict[tuple[str, str], list[tuple[str, str, bytes]]] = {}
        for line in rows.splitlines(keepends=True):
            values = json.loads(line)
            found.setdefault((values[tenant], values[charge]), []).append((values[start], values[end], line))
        return cls(file, found)

    def behind(self, tenant: str, line: Mapping[str, Any]) -> Evidence | None:
        """The rows that a line was rated from: those of its part of the month; all of its charge, where it bounds the whole."""
        own = self.lines.get((tenant, line["charge"]), ()) if line["meter"] is not None else ()
        part = [text for start, end, text in own if (start, end) == (line["start"], line["end"])] or [text for _, _, text in own]
        return Evidence(self.file, sha256(b"".join(part))) if part else None


def month_previews(con: "duckdb.DuckDBPyConnection", usage: Usage, limit: str) -> tuple[list[Preview], list[Blocked]]:
    """Every tenant of the month that `con` shows, in order: with an invoice, or blocked. `limit` is the ratio beyond which a variance is a breach."""
    compared = _compared(con, Decimal(limit))
    previews, blocked = [], []
    for tenant, name, zone, plan, currency, period, start, end, problems, text in con.sql(RATED).fetchall():
        if problems:
            blocked.append(Blocked(tenant, name, plan, currency, tuple(problems.split("\n"))))
            continue
        invoice = json.loads(text)
        previews.append(
            Preview(
                tenant_id=tenant,
                name=name,
                zone=zone,
                period=period.isoformat()[:7],
                first_day=period,
                last_day=next_month(period) - timedelta(days=1),
                start=start,
                end=end,
                plans=tuple(dict.fromkeys(line["plan"] for line in invoice["lines"])) or (plan,),
                invoice=invoice,
                books=tuple(dict.fromkeys((line["price_book"], line["version"]) for line in invoice["lines"])),
                evidence=tuple(usage.behind(tenant, line) for line in invoice["lines"]),
                variance=tuple(compared.get(tenant, ())),
            )
        )
    return previews, blocked


def _compared(con: "duckdb.DuckDBPyConnection", limit: Decimal) -> dict[str, list[Compared]]:
    found: dict[str, list[Compared]] = {}
    for tenant, meter, unit, metered, reference, delta, ratio, status in con.sql(VARIANCE).fetchall():
        signed = None if ratio is None else ratio.copy_sign(delta)
        judged: Status = status if status not in ("judged", "unsigned") else "breach" if ratio > limit else "within"
        found.setdefault(tenant, []).append(Compared(meter, unit, metered, reference, signed, limit, judged))
    return found
