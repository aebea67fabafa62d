"""The whole pipeline held to the truth of generated usage: every planted fault found, every quantity exact, whatever the format."""

from collections import Counter
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from conftest import bind

from mc_pipelines.calendars import days
from mc_pipelines.engine import connect
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE
from mc_pipelines.malformed import KINDS
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.simulate import CLASSES, Format, simulate
from mc_pipelines.truth import Truth
from mc_pipelines.windows import in_use

MONTHS = ["2026-03-01", "2026-04-01", "2026-05-01"]  # local days run over both ends of a UTC month
LANDED = days("2026-04-01", "2026-05-04")


def counted(home: Home) -> Workshop:
    """Every table of the home, built without Dagster."""
    shop = Workshop.open(home)
    windows = {"day": LANDED, "month": MONTHS, "once": [WHOLE]}
    for model in in_use(home, shop.catalog):
        materialise(shop, model, windows[model.header.every])
    return shop


@pytest.fixture(scope="module", params=["parquet", "ndjson", "csv"])
def closed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, Truth]:
    home = Home(tmp_path_factory.mktemp("truth"))
    form: Format = request.param
    # One event in 2000 of each kind: 80 000 events plant forty of each, so that every kind of bad row is there.
    truth = simulate(home.root, 80_000, 24, date(2026, 4, 1), 30, 11, form)
    return counted(home), truth


def rows(shop: Workshop, query: str, *tables: str) -> list[tuple[Any, ...]]:
    con = connect()
    for table in tables:
        bind(shop, con, table)
    return con.sql(query).fetchall()


def test_every_planted_fault_is_there(closed: tuple[Workshop, Truth]) -> None:
    truth = closed[1]
    assert {name: truth.planted[name] for name in CLASSES} == dict.fromkeys(CLASSES, 40)
    assert set(truth.malformed) == {"line:too_long"} | {reason for reason, _ in KINDS}
    assert {cause for _, _, cause, _ in truth.causes} == {"missing", "extra", "period_differs"}
    assert truth.late


def test_rows_in_are_rows_out_and_quarantined_each_with_its_reason(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    landed = rows(shop, "SELECT sum(rows_in), sum(accepted), sum(quarantined) FROM landing.usage_events", "landing.usage_events")
    assert landed == [(truth.rows["usage_events"], truth.accepted, truth.quarantined)]
    assert rows(shop, "SELECT count(*) FROM staging.usage_events", "staging.usage_events") == [(truth.accepted,)]
    assert rows(shop, "SELECT count(*) FROM staging.gateway_log", "staging.gateway_log") == [(truth.rows["gateway_log"],)]
    reasons = rows(shop, "SELECT reasons, count(*) FROM quarantine.usage_events GROUP BY reasons", "quarantine.usage_events")
    assert dict(reasons) == truth.malformed


def test_copies_count_once_and_conflicts_are_listed(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    copies = truth.planted["duplicates"] + truth.planted["conflicting_duplicates"]
    assert rows(shop, "SELECT count(*) FROM metering.usage_events", "metering.usage_events") == [(truth.accepted - copies,)]
    found = rows(shop, "SELECT kind, status, count(*) FROM metering.conflicts GROUP BY ALL", "metering.conflicts")
    assert found == [("payload_differs", "open", truth.planted["conflicting_duplicates"])]


def test_unknown_fields_are_kept_and_said(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    kept = rows(shop, "SELECT count(*) FROM staging.usage_events WHERE extras LIKE '%region%eu%'", "staging.usage_events")
    assert kept == [(truth.planted["schema_drift"],)]
    said = rows(shop, "SELECT DISTINCT unknown_fields FROM landing.usage_events WHERE file LIKE '%/drift-%'", "landing.usage_events")
    assert said == [("data.region",)]


def test_every_local_day_is_exact(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    query = """SELECT tenant_id, meter, CAST(day AS VARCHAR),
                      CASE WHEN meter = 'unique_paths' THEN count(DISTINCT item) ELSE sum(quantity_sum) END
               FROM metering.usage_daily GROUP BY tenant_id, meter, day"""
    found = {(tenant, meter, day): Decimal(quantity) for tenant, meter, day, quantity in rows(shop, query, "metering.usage_daily")}
    assert found == {(tenant, meter, day): Decimal(quantity) for tenant, meter, day, quantity in truth.daily}


def test_every_month_is_exact_on_both_sides(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    query = "SELECT tenant_id, meter, strftime(period, '%Y-%m'), metered, reference FROM metering.variance"
    found = {tuple(row[:3]): (row[3], row[4]) for row in rows(shop, query, "metering.variance")}
    expected = {
        (tenant, meter, month): (Decimal(metered), Decimal(reference))
        for tenant, meter, month, metered, reference in truth.months
        if f"{month}-01" in MONTHS and (metered or reference)
    }
    assert found == expected


def test_every_difference_has_its_cause(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    query = """SELECT strftime(period, '%Y-%m'), meter, cause, CAST(sum(rows) AS BIGINT)
               FROM metering.variance_causes WHERE meter <> 'unique_paths' GROUP BY ALL"""
    found = Counter({tuple(row[:3]): row[3] for row in rows(shop, query, "metering.variance_causes")})
    assert found == Counter({(month, meter, cause): count for month, meter, cause, count in truth.causes if f"{month}-01" in MONTHS})


def test_what_comes_after_the_cut_off_is_late(closed: tuple[Workshop, Truth]) -> None:
    shop, truth = closed
    query = "SELECT strftime(period, '%Y-%m'), sum(events) FROM metering.late_events WHERE meter = 'api_requests' GROUP BY 1"
    found = rows(shop, query, "metering.late_events")
    assert dict(found) == {month: count for month, count in truth.late if f"{month}-01" in MONTHS}
