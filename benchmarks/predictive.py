"""Decisions through token buckets, and the audit sample drawn of them: python -m benchmarks.predictive --decisions 10M --json predictive.json.

Beside each stands what a user would write by hand in plain Python, on the first tenants (buckets) or rows (sample), in the same run and scaled up; a
run counts only if both give the same rows. Neither reads files: decisions are made in memory, 200 tenants in 8 strata over 14 days.
"""

import tempfile
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from hashlib import sha256
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmarks.measure import Cost, inside, machine, show, versions, write_json

if TYPE_CHECKING:
    import duckdb

TENANTS, STRATA, SIZE, SEED = 200, 8, 300, "2026-04 predictive 1.4"
PART = 20
"""One in so many is also done by hand."""
DECISIONS = f"""
    CREATE TABLE decisions AS SELECT
        't' || lpad(CAST(i % {TENANTS} AS VARCHAR), 4, '0') AS tenant_id,
        'd' || lpad(CAST(hash(i) AS VARCHAR), 20, '0') AS decision_id,
        TIMESTAMP '2026-04-01' + to_microseconds(CAST(hash(i + 1) % 1209600000000 AS BIGINT)) AS occurred_at,
        CAST(1 + hash(i + 2) % 3 AS DECIMAL(38, 9)) AS cost,
        's' || hash(i + 3) % {STRATA} AS stratum
    FROM range($decisions) AS each (i)"""

SPRINT = {"first": "2026-04-01", "last": "2026-04-01"}
AUDITED = f"""
    CREATE SCHEMA predictive;
    CREATE TABLE predictive.seeds AS SELECT DATE '2026-04-01' AS sprint, 'm' AS model, 'v' AS model_version, '{SEED}' AS seed;
    CREATE TABLE predictive.audit_plan AS
        SELECT DATE '2026-04-01' AS sprint, 'm' AS model, 'v' AS model_version, 's' || i AS stratum, {SIZE} AS planned FROM range({STRATA}) AS each (i)"""
SCOPE = "CREATE OR REPLACE VIEW predictive.in_scope AS SELECT *, DATE '2026-04-01' AS sprint, 'm' AS model, 'v' AS model_version FROM {}"


def by_hand(rows: Sequence[tuple[str, str, Any, Decimal]], rate: Decimal, capacity: Decimal) -> list[tuple[str, str, bool, Decimal]]:
    """Token buckets as one writes them down first: a loop over sorted decisions, in decimals."""
    held: dict[str, tuple[Decimal, Any]] = {}
    found = []
    for tenant, decision, at, cost in sorted(rows, key=lambda row: (row[0], row[2], row[1])):
        tokens, last = held.get(tenant, (capacity, at))
        gone = at - last
        tokens = min(capacity, tokens + (gone.days * 86400 + gone.seconds + Decimal(gone.microseconds) / 1_000_000) * rate)
        refused = cost > tokens
        tokens -= 0 if refused else cost
        held[tenant] = (tokens, at)
        found.append((tenant, decision, refused, tokens))
    return found


def drawn_by_hand(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    strata: dict[str, list[tuple[str, str]]] = {}
    for stratum, decision in rows:
        strata.setdefault(stratum, []).append((sha256(f"{SEED}\x1f{decision}".encode()).hexdigest(), decision))
    return [(stratum, decision) for stratum in sorted(strata) for _, decision in nsmallest(SIZE, strata[stratum])]


def row(what: str, count: int, cost: Cost) -> dict[str, Any]:
    per_million = cost.cpu / count * 1_000_000
    return {"what": what, "rows": count, "cpu": cost.cpu, "wall": cost.wall, "cpu_per_million": per_million, "peak_mb": cost.peak_mb}


def measured(con: "duckdb.DuckDBPyConnection", decisions: int) -> tuple[list[dict[str, Any]], int]:
    """One row per step, the project's beside those by hand, and how many decisions the buckets would refuse. RuntimeError where rows differ."""
    from mc_pipelines.catalog import read_catalog
    from mc_pipelines.home import CHECKOUT, Home
    from mc_pipelines.predictive.quotas import Bucket, burn_down, replay

    con.execute(DECISIONS, {"decisions": decisions})
    # Tokens come in at the rate at which decisions cost them on average: some are refused, most are not.
    rate, capacity = (Decimal(2 * decisions) / TENANTS / 1_209_600).quantize(Decimal("1e-9")), Decimal(50)
    buckets = {f"t{number:04}": Bucket(rate, capacity) for number in range(TENANTS)}
    con.execute(f"CREATE VIEW part AS FROM decisions WHERE tenant_id < 't{TENANTS // PART:04}'")
    rows = []

    cost, replayed = inside(lambda: replay(con, "decisions", buckets))
    rows.append(row("buckets replayed", decisions, cost))
    part = con.execute("SELECT tenant_id, decision_id, occurred_at, cost FROM part").fetchall()
    cost, plain = inside(partial(by_hand, part, rate, capacity))
    rows.append(row("the same by hand, one tenant in 20, once the rows are there", len(part), cost))
    same = replayed.slice(0, len(plain)).to_pylist()
    billionth = Decimal("1e-9")
    if [tuple(each.values()) for each in same] != [(*each, left // billionth * billionth) for *each, left in plain]:
        raise RuntimeError("the buckets by hand say something else")
    refused = sum(each.true_count for each in replayed["would_refuse"].chunks)
    del replayed, same, plain, part

    sample = read_catalog(Home(CHECKOUT)).models["predictive.audit_drawn"].sql
    assert sample is not None
    con.execute(AUDITED)
    con.execute(SCOPE.format("decisions"))
    cost, drawn = inside(lambda: con.sql(sample, params=SPRINT).to_arrow_table())
    rows.append(row(f"sample of {SIZE} in each of {STRATA} strata", decisions, cost))
    few = con.execute("SELECT stratum, decision_id FROM part").fetchall()
    cost, plain_sample = inside(partial(drawn_by_hand, few))
    rows.append(row("the same by hand, one row in 20, once the rows are there", len(few), cost))
    con.execute(SCOPE.format("part"))
    if con.sql(sample, params=SPRINT).order("stratum, place").select("stratum, decision_id").fetchall() != plain_sample:
        raise RuntimeError("the sample by hand is another one")
    if drawn.num_rows != sum(min(SIZE, count) for (count,) in con.execute("SELECT count(*) FROM decisions GROUP BY stratum").fetchall()):
        raise RuntimeError(f"{drawn.num_rows} decisions drawn")

    budgets = dict.fromkeys(buckets, Decimal(decisions))
    cost, _ = inside(lambda: burn_down(con, "decisions", budgets, date(2026, 4, 1), datetime(2026, 4, 15)))  # noqa: DTZ001  # naive UTC
    rows.append(row("budgets by day", decisions, cost))
    return rows, refused


@click.command()
@click.option("--decisions", default="10M", show_default=True, help="How many; K and M stand for thousands and millions.")
@click.option("--memory", default="2GB", show_default=True, help="What DuckDB may hold; it spills to disk beyond.")
@click.option("--json", "document", type=click.Path(path_type=Path), help="Write the figures here.")
def main(decisions: str, memory: str, document: Path | None) -> None:
    """Measure quotas and the sample. Example: python -m benchmarks.predictive --decisions 1M"""
    import duckdb

    count = int(decisions.replace("M", "000K").replace("K", "000"))
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(Path(folder) / "decisions.duckdb") as con:
        con.execute("SET memory_limit = $memory", {"memory": memory})
        rows, refused = measured(con, count)
    show(
        f"{count:,} decisions of {TENANTS} tenants, {refused:,} would be refused",
        ("step", "rows", "CPU s", "wall s", "CPU s per million", "peak MB"),
        [(each["what"], each["rows"], each["cpu"], each["wall"], each["cpu_per_million"], round(each["peak_mb"])) for each in rows],
    )
    for ours, theirs in ((rows[0], rows[1]), (rows[2], rows[3])):
        print(f"{ours['what']}: {theirs['cpu_per_million'] / ours['cpu_per_million']:.1f} times faster than by hand, per row")
    figures = {
        "machine": machine(),
        "versions": versions("duckdb", "numpy", "pyarrow"),
        "decisions": count,
        "refused": refused,
        "steps": rows,
    }
    print(f"{figures['machine']}, {figures['versions']}")
    write_json(document, figures)


if __name__ == "__main__":
    main()
