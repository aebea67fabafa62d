"""The same work as `script_duckdb`, written in polars: landed Parquet files to period totals and variance, nothing of the project.

Usage: python -m benchmarks.script_polars HOME OUT, with any interpreter that has polars and tzdata.
"""

import json
import sys
from pathlib import Path

import polars as pl

from benchmarks.declared import declared

INSTANT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:[0-5]\d(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$"
METERS = ("api_requests", "egress_bytes", "unique_paths")


def frames(home: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Tenants with the bounds of their month, and the local days of their zones per UTC day."""
    tenants, days = declared(home)
    moment, text = pl.Datetime("us"), pl.String
    named = {"tenant_id": text, "zone": text, "start_utc": moment, "end_utc": moment, "cutoff": pl.Date}
    spans = {"zone": text, "utc_day": pl.Date, "local_day": pl.Date, "begins": moment, "ends": moment}
    return pl.LazyFrame(tenants, schema=named, orient="row"), pl.LazyFrame(days, schema=spans, orient="row")


def instant(column: str) -> pl.Expr:
    """Naive UTC; null where the text has no offset."""
    text = pl.when(pl.col(column).str.contains(INSTANT)).then(pl.col(column))
    return text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False).dt.replace_time_zone(None)


def events(home: Path, tenants: pl.LazyFrame, days: pl.LazyFrame) -> pl.DataFrame:
    """Accepted events, each identity once by its first landing, with local day and whether this close counts them."""
    named = {"subject": "tenant_id", "data.bytes": "bytes", "data.path": "path", "data.status": "status"}
    files = pl.scan_parquet(
        home / "landing" / "usage_events" / "*" / "*.parquet", include_file_paths="file", missing_columns="insert", extra_columns="ignore"
    ).rename(named)
    typed = files.with_columns(
        landing_day=pl.col("file").str.extract(r"(\d{4}-\d{2}-\d{2})/[^/]+$").str.to_date("%Y-%m-%d"),
        occurred_at=instant("time"),
        ingested_at=instant("ingested_at"),
        bytes=pl.col("bytes").cast(pl.Int64, strict=False),
    )
    accepted = typed.filter(
        pl.col("id").str.len_chars().is_between(1, 500) & pl.col("source").str.len_chars().is_between(1, 500),
        pl.col("type").str.contains(r"^(http\.request|llm\.completion|usage\.[a-z0-9_]+)$"),
        pl.col("occurred_at").is_not_null() & pl.col("ingested_at").is_not_null(),
        (pl.col("bytes") >= 0).fill_null(True) & pl.col("status").str.contains(r"^[1-5][0-9][0-9]$").fill_null(True),
    ).join(tenants, on="tenant_id")
    identity = ["tenant_id", "source", "id"]
    once = accepted.sort("landing_day", "ingested_at").unique(identity, keep="first", maintain_order=False)
    return (
        once.with_columns(utc_day=pl.col("occurred_at").dt.date())
        .join(days, on=["zone", "utc_day"])
        .filter((pl.col("occurred_at") >= pl.col("begins")) & (pl.col("occurred_at") < pl.col("ends")))
        .filter(pl.col("type") == "http.request")
        .select(
            "tenant_id", "local_day", "bytes", "path",
            closed=(pl.col("occurred_at") >= pl.col("start_utc"))
            & (pl.col("occurred_at") < pl.col("end_utc"))
            & (pl.col("landing_day") <= pl.col("cutoff")),
        )
        .collect(engine="streaming")
    )  # fmt: skip


def counted(rows: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """A row per key and meter."""
    groups = rows.group_by(keys).agg(
        pl.len().cast(pl.Int64).alias("api_requests"), pl.col("bytes").sum().alias("egress_bytes"),
        pl.col("path").drop_nulls().n_unique().cast(pl.Int64).alias("unique_paths"),
    )  # fmt: skip
    return groups.unpivot(METERS, index=list(keys), variable_name="meter", value_name="quantity")


def gateway(home: Path, tenants: pl.LazyFrame) -> pl.DataFrame:
    """What the log says per tenant and meter in the period."""
    rows = pl.scan_parquet(home / "landing" / "gateway_log" / "*" / "*.parquet").filter(
        pl.col("meter").str.contains("^[a-z][a-z0-9_]*$") & pl.col("hour").is_not_null() & pl.col("quantity").is_not_null()
    )
    timed = rows.with_columns(moment=pl.coalesce(instant("occurred_at"), instant("hour"))).join(tenants, on="tenant_id")
    inside = timed.filter((pl.col("moment") >= pl.col("start_utc")) & (pl.col("moment") < pl.col("end_utc")))
    summed = inside.group_by("tenant_id", "meter").agg(
        pl.col("quantity").cast(pl.Int64).sum().alias("summed"), pl.col("item").drop_nulls().n_unique().cast(pl.Int64).alias("items")
    )
    reference = pl.when(pl.col("meter") == "unique_paths").then(pl.col("items")).otherwise(pl.col("summed"))
    return summed.select("tenant_id", "meter", reference=reference).collect(engine="streaming")


def main(home: Path, out: Path) -> None:
    tenants, days = frames(home)
    rows = events(home, tenants, days)
    daily = counted(rows, "tenant_id", "local_day")
    totals = counted(rows.filter(pl.col("closed")), "tenant_id")
    variance = totals.join(gateway(home, tenants), on=["tenant_id", "meter"], how="full", coalesce=True).with_columns(
        pl.col("quantity").fill_null(0), pl.col("reference").fill_null(0)
    )
    absolute = (pl.col("quantity") - pl.col("reference")).abs()
    variance = variance.with_columns(ratio=absolute / pl.max_horizontal("reference", pl.lit(1)))
    for name, frame in (("daily", daily), ("totals", totals), ("variance", variance)):
        frame.sort(frame.columns[:3]).write_parquet(out / f"{name}.parquet", compression="zstd")
    shown = variance.sort("tenant_id", "meter").select("tenant_id", "meter", pl.col("quantity", "reference").cast(pl.String)).rows()
    result = {"totals": shown, "events": rows.height, "daily": daily.height, "version": pl.__version__}
    (out / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
