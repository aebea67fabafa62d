"""What the close shows, as plain JSON: the metering report, read from the marts of one month; and what the gates say together.

Only selection and naming belong here; every figure is a column of a mart, and the pages draw what stands here.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mc_pipelines.rating.money import EXACT
from mc_pipelines.runner import Workshop

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.gates import GateResult
    from mc_pipelines.windows import Window

TOP_TENANTS = 10
MOST_MOVERS = 50
NANO_PLACES = 9


def text(value: Any) -> Any:
    """A value as JSON has it here: exact decimals without trailing zeros, ISO dates, everything else as it is."""
    if isinstance(value, Decimal):
        plain = format(EXACT.normalize(value), "f")
        return "0" if plain in {"-0", "0"} else plain
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    return value.isoformat() if isinstance(value, date) else value


def records(con: "duckdb.DuckDBPyConnection", query: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The rows of a query as JSON-safe dicts, in the query's order."""
    relation = con.sql(query, params=params)
    return [dict(zip(relation.columns, map(text, row), strict=True)) for row in relation.fetchall()]


def shortened(con: "duckdb.DuckDBPyConnection", lists: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    """By name the first rows of each query, so many at most; under `whole` how many rows there are."""
    whole = {name: con.sql(query).count("*").fetchall()[0][0] for name, (query, _) in lists.items()}
    return {name: records(con, f"{query} LIMIT {most}") for name, (query, most) in lists.items()} | {"whole": whole}


def editions(con: "duckdb.DuckDBPyConnection", deliverable: str, window: "Window") -> dict[str, Any]:
    """The published documents of a window, by their path in its bundle."""
    rows = con.sql(
        f"SELECT document, content FROM {deliverable}.editions WHERE sprint = $sprint AND content IS NOT NULL ORDER BY document",
        params={"sprint": window.key},
    ).fetchall()
    return {f"{document}.json": json.loads(content) for document, content in rows}


def month_views(shop: Workshop, con: "duckdb.DuckDBPyConnection", period: str, tables: Sequence[str], pins: Mapping[str, int]) -> None:
    """Views of the tables at their pinned versions; tables of months and sprints show only the rows of the window `period`."""
    for table in tables:
        shop.lake.view(con, table, pins[table])
        model = shop.catalog.owner_of(table)
        if model.judged and model.key == table:
            some_windows(shop, con, table, pins[table], f"{model.header.window} = '{period}'")


def some_windows(shop: Workshop, con: "duckdb.DuckDBPyConnection", table: str, version: int, where: str) -> None:
    """View of a pinned table's windows of which `where` holds, as SQL over the window column that Delta and DuckDB both read."""
    schema, name = table.split(".")
    opened = shop.lake.open(table, version)
    assert opened is not None
    con.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    con.execute(f'CREATE OR REPLACE VIEW "{schema}"."{name}" AS FROM ({shop.lake.select(opened, where)}) WHERE {where}')


def _meters(con: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    totals = {
        row["meter"]: row
        for row in records(con, "SELECT meter, sum(quantity) AS total FROM metering.usage_period GROUP BY meter ORDER BY meter")
    }
    days: dict[str, list[dict[str, Any]]] = {}
    for row in records(con, "SELECT meter, day, quantity, events FROM metering.usage_meter_days ORDER BY meter, day"):
        days.setdefault(row.pop("meter"), []).append(row)
    declared = records(con, "SELECT meter, unit, aggregation FROM reference.meters ORDER BY meter")
    return [
        row | {"total": totals[row["meter"]]["total"], "days": days.get(row["meter"], [])} for row in declared if row["meter"] in totals
    ]


def _top_tenants(con: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    rows = con.sql(f"""
        WITH sums AS (SELECT tenant_id, meter, sum(quantity) AS quantity FROM metering.usage_period GROUP BY tenant_id, meter),
        ranked AS (SELECT *, sum(quantity) OVER (PARTITION BY meter) AS whole,
                          row_number() OVER (PARTITION BY meter ORDER BY quantity DESC, tenant_id) AS place FROM sums)
        SELECT ranked.tenant_id, tenants.name, ranked.meter, ranked.quantity, ranked.whole FROM ranked
        JOIN reference.tenants AS tenants ON tenants.tenant_id = ranked.tenant_id
        WHERE place <= {TOP_TENANTS} ORDER BY ranked.meter, place""").fetchall()
    return [
        {"tenant_id": tenant, "name": name, "meter": meter, "quantity": text(quantity), "share": text(_share(quantity, whole))}
        for tenant, name, meter, quantity, whole in rows
    ]


def _share(part: Decimal, whole: Decimal) -> Decimal:
    from mc_pipelines.metering import quotient

    return quotient(Decimal(part), Decimal(whole))


def _variance(con: "duckdb.DuckDBPyConnection", limit: str, money_limit: str) -> dict[str, Any]:
    source = records(con, "SELECT counts_repeats, counts_repeats_why FROM reference.sources WHERE source = 'gateway_log'")
    causes: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in records(
        con, "SELECT tenant_id, meter, cause, rows, quantity, sample FROM metering.variance_causes ORDER BY tenant_id, meter, cause"
    ):
        causes.setdefault((row.pop("tenant_id"), row.pop("meter")), []).append(row)
    pairs = []
    for row in records(
        con,
        "SELECT variance.*, tenants.name FROM metering.variance AS variance JOIN reference.tenants AS tenants USING (tenant_id) "
        "ORDER BY tenant_id, meter",
    ):
        explained = row["status"] in ("explained", "unsigned")
        status = row["status"]
        if status in ("judged", "unsigned"):
            beyond = Decimal(row["variance_ratio"]) > Decimal(limit)
            status = "within" if not beyond else "breach" if status == "judged" else "unsigned"
        pairs.append(
            {key: row[key] for key in ("tenant_id", "name", "meter", "metered", "reference", "delta", "currency")}
            | {
                "money": row["delta_money"],
                "ratio": row["variance_ratio"],
                "status": status,
                "explanation": {
                    key: row[f"explained_{name}"]
                    for key, name in (("reason", "reason"), ("note", "note"), ("owner", "owner"), ("expires", "until"), ("by", "by"))
                }
                if explained
                else None,
                "causes": causes.get((row["tenant_id"], row["meter"]), []),
            }
        )
    meters = records(
        con, "SELECT meter, metered, reference, absolute, net, variance_ratio AS ratio FROM metering.variance_meters ORDER BY meter"
    )
    currencies = records(
        con,
        "SELECT currency, tenants, reference_money AS reference, absolute_money AS absolute, net_money AS net, explained_money AS explained, "
        "variance_ratio AS ratio FROM metering.variance_money ORDER BY currency",
    )
    for rows, most in ((meters, limit), (currencies, money_limit)):
        for row in rows:
            row["status"] = "unreferenced" if row["ratio"] is None else "breach" if Decimal(row["ratio"]) > Decimal(most) else "within"
    found = source[0] if source else {"counts_repeats": False, "counts_repeats_why": ""}
    return found | {"meters": meters, "currencies": currencies, "pairs": pairs}


def metering_report(con: "duckdb.DuckDBPyConnection", period: str, as_of: str, limit: str, money_limit: str) -> dict[str, Any]:
    """The metering report of one month; the limits are the variance thresholds that the gates declare, of quantities and of money (text)."""
    totals = con.sql("SELECT sum(rows_in), sum(accepted), sum(quarantined) FROM metering.quarantine_summary").fetchall()[0]
    rows_in, accepted, quarantined = (int(value or 0) for value in totals)
    return {
        "period": period[:7],
        "as_of": as_of,
        "meters": _meters(con),
        "top_tenants": _top_tenants(con),
        "variance": _variance(con, limit, money_limit),
        "causes": records(
            con,
            "SELECT cause, meter, CAST(sum(rows) AS BIGINT) AS rows, sum(quantity) AS quantity FROM metering.variance_causes "
            "GROUP BY cause, meter ORDER BY cause, meter",
        ),
        "quarantine": {
            "rows_in": rows_in,
            "accepted": accepted,
            "quarantined": quarantined,
            "share": text(_share(Decimal(quarantined), Decimal(rows_in))),
            "reasons": records(
                con, "SELECT source, reason, rows, first_day, last_day, sample FROM metering.quarantine_reasons ORDER BY source, reason"
            ),
        },
        "conflicts": records(
            con, "SELECT tenant_id, source, id, kind, status FROM metering.conflicts ORDER BY kind, tenant_id, source, id"
        ),
        "late": records(con, "SELECT tenant_id, meter, landing_day, day, events, quantity FROM metering.late_events ORDER BY ALL"),
        "landing": records(
            con, "SELECT source, day, rows_in, accepted, quarantined, status FROM metering.landing_days ORDER BY source, day"
        ),
    }


def movers(con: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    """The invoices that differ most from the month before, by ratio; those of the first month have nothing to differ from."""
    return records(
        con,
        "SELECT tenant_id, tenants.name, change.plan, change.currency, before, before_currency, now, change, change_ratio AS ratio, status "
        "FROM metering.invoice_change AS change JOIN reference.tenants AS tenants USING (tenant_id) WHERE change_ratio > 0 "
        f"ORDER BY change_ratio DESC, abs(change) DESC NULLS FIRST, tenant_id LIMIT {MOST_MOVERS}",
    )


def corrections(con: "duckdb.DuckDBPyConnection") -> list[dict[str, Any]]:
    """What is late for locked months, by tenant: corrected on this month's invoice, or why not. Amounts are text."""
    return records(
        con,
        "SELECT tenant_id, tenants.name, strftime(original_period, '%Y-%m') AS original_period, original_invoice, status, events, drifted, problems, "
        "tenants.currency, nullif(correction, '') ->> '$.net' AS net, nullif(correction, '') ->> '$.tax' AS tax, nullif(correction, '') ->> '$.total' AS total "
        "FROM metering.corrected AS corrected JOIN reference.tenants AS tenants USING (tenant_id) ORDER BY tenant_id, original_period",
    )


def released(results: Sequence["GateResult"], waived: Collection[str]) -> bool:
    """Whether every critical gate passed or is waived."""
    critical = [result for result in results if result.severity == "critical"]
    return bool(critical) and all(result.status == "passed" or result.gate in waived for result in critical)


def verdict(results: Sequence["GateResult"]) -> str:
    """'passed' when there are gates and every critical one passed; else 'failed'."""
    return "passed" if released(results, ()) else "failed"
