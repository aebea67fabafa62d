"""What goes stale, and nothing else, is rebuilt; the same rows come out however the days are asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Bench, Row, event, seen

from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.runner import Outcome
from mc_pipelines.shell import views

DAYS = ["2026-04-01", "2026-04-02", "2026-04-03"]
METERS = """meters:
  - {meter: requests, type: http.request, aggregation: count, unit: request}
  - {meter: egress, type: http.request, aggregation: sum, value: bytes, unit: byte}
  - {meter: paths, type: http.request, aggregation: unique_count, value: path, unit: path}
  - {meter: seats, type: usage.seats, aggregation: weighted_sum, value: value, unit: seat}
"""
# The starter's tenant acme lives in Berlin, UTC+2 in April.
BY_DAY: dict[str, list[Row]] = {
    "2026-04-01": [
        event("a", "2026-04-01T10:00:00", bytes=1, path="/a"),
        event("early-void", "2026-04-01T10:00:00", kind="void", amends="c"),  # its target lands on the 3rd
        event("seat", "2026-04-01T10:00:00", type="usage.seats", value=2),
    ],
    "2026-04-02": [
        event("a", "2026-04-01T10:00:00", "2026-04-02", bytes=1, path="/a"),  # a copy
        event("b", "2026-04-02T10:00:00", bytes=2, path="/b"),
        event("swap", "2026-04-02T11:00:00", kind="replace", amends="a", bytes=7, path="/c"),
    ],
    "2026-04-03": [
        event("c", "2026-04-02T23:00:00", "2026-04-03", bytes=4, path="/a"),  # the 3rd in Berlin
        event("d", "2026-04-02T10:00:00", "2026-04-03", bytes=8, path="/b"),
        event("swap-again", "2026-04-03T11:00:00", kind="replace", amends="a", bytes=9, path="/c"),
    ],
}


def written(outcomes: dict[str, Outcome]) -> dict[str, tuple[str, ...]]:
    return {key: outcome.rebuilt for key, outcome in outcomes.items() if outcome.rebuilt}


def versions(bench: Bench) -> dict[str, int | None]:
    return {table: bench.shop.lake.version(table) for table in bench.shop.lake.tables()}


def land_all(bench: Bench) -> None:
    bench.declare("meters", METERS)
    bench.land([row for rows in BY_DAY.values() for row in rows], [seen("a", "2026-04-01T10:00:00")], DAYS)


def daily_rows(bench: Bench) -> dict[str, list[tuple[object, ...]]]:
    keys = [
        model.key
        for model in bench.shop.catalog.ordered()
        if model.header.every == "day" and model.deliverable == "metering" and not model.header.view
    ]
    return {key: bench.rows(f"SELECT * FROM {key} ORDER BY ALL", key) for key in keys}


def test_day_by_day_gives_the_same_rows_as_all_days_at_once(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> None:
    stepwise, at_once, backwards = (make_bench(tmp_path / name) for name in ("stepwise", "at_once", "backwards"))
    for each in (stepwise, backwards):
        each.declare("meters", METERS)
    for day in DAYS:
        stepwise.land(BY_DAY[day], [], [day])
        stepwise.build([day], [])
    for day in reversed(DAYS):
        backwards.land(BY_DAY[day], [], [day])
        backwards.build([day], [])
    backwards.build(DAYS, [])  # earlier landings change which copy is the first: later days are stale until asked for
    land_all(at_once)
    at_once.build(DAYS, [])
    expected = daily_rows(at_once)
    assert sum(map(len, expected.values())) > 20
    assert daily_rows(stepwise) == expected
    assert daily_rows(backwards) == expected


def test_nothing_is_stale_on_a_second_run(bench: Bench) -> None:
    land_all(bench)
    assert written(bench.build(DAYS))["metering.usage_daily"] == tuple(DAYS)
    before = versions(bench)
    assert written(bench.build(DAYS)) == {}
    assert versions(bench) == before


def test_a_late_arrival_makes_exactly_the_local_days_stale_that_it_touches(bench: Bench) -> None:
    land_all(bench)
    bench.build(DAYS, [])
    bench.land([event("late", "2026-04-01T22:30:00", "2026-04-04"), event("now", "2026-04-04T10:00:00")])  # 00:30 of the 2nd in Berlin
    done = bench.build(["2026-04-04"], [])
    assert done["metering.seen_before"].rebuilt == ("2026-04-04",)
    assert done["metering.usage_daily"].rebuilt == ("2026-04-02", "2026-04-04")
    bench.land([event("undo", "2026-04-05T10:00:00", kind="void", amends="c")])
    assert bench.build(["2026-04-05"], [])["metering.usage_daily"].rebuilt == ("2026-04-03", "2026-04-05")


def test_a_payload_that_changes_under_the_same_id_is_noticed(bench: Bench) -> None:
    land_all(bench)
    bench.build(DAYS, [])
    changed = [row if row["id"] != "b" else event("b", "2026-04-02T10:00:00", bytes=5, path="/b") for row in BY_DAY["2026-04-02"]]
    bench.land(changed)
    assert bench.build(DAYS, [])["metering.usage_daily"].rebuilt == ("2026-04-02",)
    assert bench.rows(
        "SELECT sum(quantity_sum) FROM metering.usage_daily WHERE meter = 'egress' AND day = '2026-04-02'", "metering.usage_daily"
    ) == [(13,)]


def test_a_changed_zone_moves_usage_and_empties_the_day_it_left(bench: Bench) -> None:
    tenants = (bench.home.reference / "tenants.yaml").read_text(encoding="utf-8")
    bench.declare("meters", METERS)
    bench.land(
        [
            event("x", "2026-04-01T23:00:00", "2026-04-02", bytes=1, path="/"),
            event("seat", "2026-04-03T10:00:00", "2026-04-03", type="usage.seats", value=2),
        ],
        days=DAYS,
    )
    bench.build(DAYS, [])
    level = "SELECT level_microseconds FROM metering.usage_daily WHERE meter = 'seats'"
    assert bench.rows(level, "metering.usage_daily") == [(2 * 12 * 3_600_000_000,)]  # from noon of Berlin to midnight
    bench.declare("tenants", tenants.replace("Europe/Berlin", "UTC"))
    bench.build(DAYS, [])
    days = "SELECT DISTINCT CAST(day AS VARCHAR) FROM metering.usage_daily WHERE meter = 'requests'"
    assert bench.rows(days, "metering.usage_daily") == [("2026-04-01",)]
    assert bench.rows(level, "metering.usage_daily") == [(2 * 14 * 3_600_000_000,)]


def test_a_new_tenant_makes_no_day_stale_that_it_does_not_touch(bench: Bench) -> None:
    land_all(bench)
    bench.build(DAYS, [])
    tenants = (bench.home.reference / "tenants.yaml").read_text(encoding="utf-8")
    bench.declare("tenants", tenants + "  - {tenant_id: newcomer, name: New, zone: Asia/Tokyo, currency: JPY, plan: p, grace_days: 1}\n")
    done = bench.build(DAYS, [])
    assert done["reference.tenants"].rebuilt == ("all",)
    assert done["metering.usage_daily"].rebuilt == ()


def test_a_changed_meter_rebuilds_what_it_counts(bench: Bench) -> None:
    land_all(bench)
    bench.build(DAYS)
    bench.declare("meters", METERS.replace("aggregation: sum, value: bytes", "aggregation: max, value: bytes"))
    bench.build(DAYS)
    assert bench.rows("SELECT quantity FROM metering.usage_period WHERE meter = 'egress'", "metering.usage_period") == [(9,)]


def test_outcomes_count_rows_by_window(bench: Bench) -> None:
    land_all(bench)
    done = bench.build(DAYS, [])["metering.seen_before"]
    assert (done.rows, dict(done.by_window)) == (1, {"2026-04-01": 0, "2026-04-02": 1, "2026-04-03": 0})  # one copy among nine rows


def test_a_view_is_asked_like_a_table_at_the_versions_that_are_pinned(bench: Bench) -> None:
    bench.declare("meters", METERS)
    bench.land(BY_DAY[DAYS[0]])
    first = bench.shop.lake.version("staging.usage_events")
    assert first is not None
    land_all(bench)
    bench.build(DAYS, [])

    def readings(pins: dict[str, int]) -> int:
        con = connect()
        con.execute(views(bench.home, pins))
        (row,) = con.sql("SELECT count(*) FROM metering.readings WHERE meter = 'requests'").fetchall()
        return int(row[0])

    # Requests by landing day, without the copy and the void: a; b and swap; c, d and swap-again.
    assert (readings({"staging.usage_events": first}), readings({})) == (1, 6)
    with pytest.raises(MissionError, match=r"metering\.readings: no such table"):
        views(bench.home, {"metering.readings": 1})


def test_an_input_that_does_not_exist_yet_is_named_with_what_to_run(bench: Bench) -> None:
    with pytest.raises(MissionError, match=r"metering\.\w+ reads staging\.\w+, which does not exist yet.*mission run"):
        bench.build(DAYS, [])
