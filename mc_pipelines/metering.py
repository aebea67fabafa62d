"""The metering tables that need Python: readings, compiled from the declared meters, and period quantities with exact division.

Everything that plain SQL can say is in assets/metering/; nothing here reads a clock or a file other than reference data.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import TYPE_CHECKING, Any

from mc_pipelines import reference, reference_tables
from mc_pipelines.errors import MissionError

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.runner import Work

NANO = Decimal("0.000000001")
VALUE_COLUMNS = frozenset({"bytes", "path", "status", "context_tokens", "generated_tokens", "blocks", "value"})
LISTS, TEXTS = frozenset({"blocks"}), frozenset({"path", "status", "blocks"})
CARRIED = "landing_day, tenant_id, source, id, kind, amends_key AS target_key, occurred_at, occurred_us, ingested_at, local_day, day_end_us, event_key"


@dataclass(frozen=True)
class Dialect:
    """What the engines have no common text for: a text literal, a JSON object of names and columns, the distinct texts of a JSON list."""

    literal: Callable[[str], str]
    json_object: Callable[[Sequence[tuple[str, str]]], str]
    items: Callable[[str], str]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _spark_literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


DUCKDB = Dialect(
    _literal,
    lambda pairs: f"CAST(json_object({', '.join(f'{_literal(name)}, {column}' for name, column in pairs)}) AS VARCHAR)",
    lambda column: f"unnest(list_distinct(from_json({column}, '[\"VARCHAR\"]')))",
)
SPARK = Dialect(
    _spark_literal,
    lambda pairs: (
        f"to_json(named_struct({', '.join(f'{_spark_literal(name)}, {column}' for name, column in pairs)}), map('ignoreNullFields', 'false'))"
    ),
    lambda column: f"explode(array_distinct(array_compact(from_json({column}, 'ARRAY<STRING>'))))",
)


def _column(meter: reference.Meter, name: str) -> str:
    if name not in VALUE_COLUMNS:
        raise MissionError(
            f"reference/meters.yaml: meter {meter.meter} names column {name!r}; the contract has {', '.join(sorted(VALUE_COLUMNS))}."
        )
    return name


def meter_select(meter: reference.Meter, dialect: Dialect = DUCKDB) -> str:
    """One SELECT: what the events of a meter's type contribute to it. Dimensions become canonical JSON text, '' where there are none."""
    said = dialect.literal
    conditions = [f"type = {said(meter.type)}"]
    conditions += [f"{_column(meter, name)} IN ({', '.join(map(said, allowed))})" for name, allowed in sorted(meter.filter.items())]
    dimension = dialect.json_object([(name, _column(meter, name)) for name in meter.dimensions]) if meter.dimensions else "''"
    if meter.aggregation == "count":
        item, quantity = "''", "CAST(1 AS DECIMAL(38, 9))"
    elif meter.value is None:
        raise MissionError(
            f"reference/meters.yaml: meter {meter.meter} aggregates by {meter.aggregation} and so needs `value`: the column to read."
        )
    else:
        value = _column(meter, meter.value)
        unique = meter.aggregation == "unique_count"
        if (value in TEXTS and not unique) or (meter.list and value not in LISTS):
            raise MissionError(
                f"reference/meters.yaml: meter {meter.meter}: {meter.aggregation}{' of a list' if meter.list else ''} cannot be made of {value!r}, "
                f"which holds {'a list' if value in LISTS else 'text' if value in TEXTS else 'a number'}. `unique_count` counts texts; `list: true` is for {', '.join(LISTS)}."
            )
        conditions.append(f"{value} IS NOT NULL")
        item = (dialect.items(value) if meter.list else f"CAST({value} AS STRING)") if unique else "''"
        quantity = "CAST(1 AS DECIMAL(38, 9))" if unique else f"CAST({value} AS DECIMAL(38, 9))"
    return (
        f"SELECT {CARRIED}, {said(meter.meter)} AS meter, {dimension} AS dimension, {item} AS item, {quantity} AS quantity "
        f"FROM metering.usage_events WHERE {' AND '.join(conditions)} AND kind <> 'void'"
    )


def readings(work: "Work") -> "duckdb.DuckDBPyRelation":
    """One row per event, meter and item; a void is one row without a meter. Compiled from the table of meters, as the reader pins it."""
    return work.con.sql(_readings(work, DUCKDB))


def readings_on_spark(work: "Work") -> str:
    """The same SELECT as Spark understands it."""
    return _readings(work, SPARK)


def _readings(work: "Work", dialect: Dialect) -> str:
    selects = [meter_select(meter, dialect) for meter in reference_tables.meters_of(work.con)]
    selects.append(
        f"SELECT {CARRIED}, '' AS meter, '' AS dimension, '' AS item, CAST(0 AS DECIMAL(38, 9)) AS quantity "
        "FROM metering.usage_events WHERE kind = 'void'"
    )
    return " UNION ALL ".join(selects)


STATES = """
WITH dated AS (
    SELECT periods.period, daily.*, date_diff('microsecond', periods.start_utc, periods.end_utc) AS period_us,
           epoch_us(periods.end_utc) AS period_end_us, meters.aggregation,
           daily.day >= periods.period AS inside
    FROM metering.usage_daily AS daily
    JOIN reference.meters AS meters ON meters.meter = daily.meter
    JOIN reference.periods AS periods ON periods.tenant_id = daily.tenant_id
     AND (periods.period = CAST(date_trunc('month', daily.day) AS DATE)
          OR (meters.aggregation = 'weighted_sum' AND periods.period > daily.day))
    WHERE periods.period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND daily.landing_day <= periods.cutoff_day AND daily.until_day > periods.cutoff_day
)
SELECT period, tenant_id, meter, dimension, any_value(aggregation) AS aggregation,
       CAST(coalesce(sum(events) FILTER (WHERE inside), 0) AS BIGINT) AS events,
       CAST(coalesce(sum(quantity_sum) FILTER (WHERE inside), 0) AS DECIMAL(38, 9)) AS summed,
       min(quantity_min) AS lowest, max(quantity_max) AS highest,
       -- As within a day: event time, then ingest time, where none counts as the newest, then id; the quantity, where two sources have all three.
       first(latest_quantity ORDER BY latest_at DESC NULLS LAST, latest_ingested_at DESC NULLS FIRST, latest_id DESC NULLS LAST,
                                      latest_quantity DESC NULLS LAST) FILTER (WHERE aggregation = 'latest') AS latest,
       count(DISTINCT item) AS items,
       any_value(period_us) AS period_us,
       CAST(coalesce(sum(CASE WHEN aggregation <> 'weighted_sum' THEN 0
                              WHEN inside THEN level_microseconds
                                               + CAST(quantity_sum AS DECIMAL(20, 9)) * CAST(period_end_us - day_end_us AS DECIMAL(17, 0))
                              ELSE CAST(quantity_sum AS DECIMAL(20, 9)) * CAST(period_us AS DECIMAL(17, 0)) END), 0)
            AS DECIMAL(38, 9)) AS level_microseconds
FROM dated
GROUP BY period, tenant_id, meter, dimension
ORDER BY period, tenant_id, meter, dimension
"""
SCHEMA = {
    "period": "DATE",
    "tenant_id": "VARCHAR",
    "meter": "VARCHAR",
    "dimension": "VARCHAR",
    "events": "BIGINT",
    "quantity": "DECIMAL",
    "numerator": "DECIMAL",
    "denominator": "DECIMAL",
}


def usage_period(work: "Work") -> "duckdb.DuckDBPyRelation":
    """Merge the daily states of a month. avg and weighted_sum keep numerator and denominator beside the quotient (HALF_UP, 9 decimals)."""
    rows = work.con.sql(STATES, params=work.params)
    return reference_tables.relation_of(work, SCHEMA, period_rows(rows.fetchall()))


def period_rows(states: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for period, tenant, meter, dimension, aggregation, events, summed, lowest, highest, latest, items, period_us, level in states:
        numerator = denominator = None
        if aggregation == "avg":
            numerator, denominator = summed, Decimal(events)
            quantity = quotient(summed, Decimal(events))
        elif aggregation == "weighted_sum":
            numerator, denominator = level, Decimal(period_us)
            quantity = quotient(level, Decimal(period_us))
        else:
            by_aggregation = {
                "count": Decimal(events),
                "sum": summed,
                "min": lowest,
                "max": highest,
                "latest": latest,
                "unique_count": Decimal(items),
            }
            quantity = by_aggregation[aggregation]
        yield period, tenant, meter, dimension, events, quantity, numerator, denominator


def quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Exact division rounded once, HALF_UP, to nine decimals; 0 where there is nothing to divide by (an empty period bills 0)."""
    if denominator == 0:
        return Decimal(0)
    with localcontext(Context(prec=76)):
        return (numerator / denominator).quantize(NANO, ROUND_HALF_UP)
