"""The metering tables against hand-calculated months: every aggregation, identity, amendments, months by zone, variance and its causes.

One home holds a tenant per case, so that it is built once.
"""

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import Bench, Row, event, instant, seen

from mc_pipelines import reference
from mc_pipelines.demo_person import sign_explanations
from mc_pipelines.errors import MissionError
from mc_pipelines.metering import meter_select, quotient

METERS = """meters:
  - {meter: requests, type: http.request, aggregation: count, unit: request, floor: 1}
  - {meter: egress, type: http.request, aggregation: sum, value: bytes, unit: byte, floor: 1}
  - {meter: smallest, type: usage.load, aggregation: min, value: value, unit: load}
  - {meter: largest, type: usage.load, aggregation: max, value: value, unit: load}
  - {meter: mean, type: usage.load, aggregation: avg, value: value, unit: load}
  - {meter: gauge, type: usage.gauge, aggregation: latest, value: value, unit: g}
  - {meter: paths, type: http.request, aggregation: unique_count, value: path, unit: path}
  - {meter: blocks, type: llm.completion, aggregation: unique_count, value: blocks, list: true, unit: block}
  - {meter: seats, type: usage.seats, aggregation: weighted_sum, value: value, unit: seat}
  - {meter: good, type: http.request, aggregation: count, unit: request, filter: {status: ['200', '204']}}
  - {meter: by_status, type: http.request, aggregation: count, unit: request, dimensions: [status]}
"""
ZONES = {"ny": "America/New_York", "ktm": "Asia/Kathmandu"}
# In UTC with two days of grace, April's cut-off is landing day 2026-05-03.
CONFLICTS = """conflicts:
  - {tenant_id: clash, source: edge, id: kept, choice: first, reason: resent, owner: ops}
  - {tenant_id: clash, source: edge, id: dropped, choice: void, reason: bogus, owner: ops}
  - {tenant_id: clash2, source: edge, id: shared-void, choice: void, reason: wrong tenant, owner: ops}
"""
EXPLAINED = """explained:
  - {tenant_id: v-explained, meter: requests, period: 2026-04, reason: outage, note: n, owner: o, expires: 2026-05-03}
  - {tenant_id: v-expired, meter: requests, period: 2026-04, reason: outage, note: n, owner: o, expires: 2026-05-02}
"""


def load(id: str, at: str, value: object, tenant: str = "agg", type: str = "usage.load", **more: str) -> Row:
    return event(id, at, tenant=tenant, type=type, value=value, **more)


def aggregated() -> Iterator[Row]:
    yield event("e1", "2026-04-01T10:00:00", tenant="agg", bytes=100, path="/a", status="200")
    yield event("e2", "2026-04-01T11:00:00", tenant="agg", bytes="50.5", path="/b", status="204")
    yield event("e3", "2026-04-02T10:00:00", tenant="agg", bytes="100.1", path="/a", status="500")
    yield event("e4", "2026-04-03T10:00:00", tenant="agg", status="200")
    yield load("l1", "2026-04-01T10:00:00", "-1.5")
    yield load("l2", "2026-04-09T10:00:00", 2)
    yield load("l3", "2026-04-09T11:00:00", "0.5")
    yield event("c1", "2026-04-01T10:00:00", tenant="agg", type="llm.completion", blocks='["x","y","x"]')
    yield event("c2", "2026-04-02T10:00:00", tenant="agg", type="llm.completion", blocks='["y","z"]')
    # Latest: by event time, then ingest time, then id.
    yield load("g1", "2026-04-10T10:00:00", 5, type="usage.gauge", ingested="2026-04-10T11:00:00")
    yield load("g2", "2026-04-10T10:00:00", 7, type="usage.gauge", ingested="2026-04-10T11:00:00")
    yield load("g9", "2026-04-10T10:00:00", 6, type="usage.gauge", ingested="2026-04-10T10:30:00")
    yield load("g0", "2026-04-08T10:00:00", 9, type="usage.gauge", landed="2026-04-12", ingested="2026-04-12T10:00:00")
    yield from tied("unsaid-later", ("a", 5, "2026-04-10T11:00:00"), ("b", 7, None))
    yield from tied("unsaid-first", ("a", 5, None), ("b", 7, "2026-04-10T11:00:00"))
    yield from tied("unsaid-both", ("z", 5, None), ("b", 7, None))
    yield from tied("by-id", ("z", 5, "2026-04-10T11:00:00"), ("b", 7, "2026-04-10T11:00:00"))
    yield from tied("by-quantity", ("a", 7, "2026-04-10T11:00:00"), ("a", 5, "2026-04-10T11:00:00"))
    yield load("s1", "2026-04-01T00:00:00", 10, type="usage.seats")
    yield load("s2", "2026-04-16T00:00:00", -4, type="usage.seats")
    yield load("s3", "2026-05-11T00:00:00", 3, type="usage.seats")


def tied(tenant: str, *readings: tuple[str, int, str | None]) -> Iterator[Row]:
    """(id, value, ingested_at) of readings of one instant from two sources, the second landed two days after the first."""
    for (id, value, ingested), landed, source in zip(readings, ("2026-04-10", "2026-04-12"), ("edge", "core"), strict=True):
        row = load(id, "2026-04-10T10:00:00", value, f"tied-{tenant}", "usage.gauge", landed=landed, source=source)
        yield dict(row) | {"ingested_at": ingested and instant(ingested)}


def identities() -> Iterator[Row]:
    yield event("r1", "2026-04-01T10:00:00", tenant="same", bytes=1)
    yield event("r1", "2026-04-01T10:00:00", "2026-05-11", tenant="same", bytes=1)  # sent again after 40 days
    yield event("r1", "2026-04-01T10:00:00", tenant="same", source="other", bytes=1)  # another source's id of the same name
    for id in ("open", "kept", "dropped"):
        yield event(id, "2026-04-05T10:00:00", tenant="clash", bytes=100)
        yield event(id, "2026-04-05T10:00:00", "2026-04-06", tenant="clash", bytes=200)
    for tenant in ("clash", "clash2"):
        yield event("shared", "2026-04-07T10:00:00", tenant=tenant, bytes=1)
        yield event("shared-void", "2026-04-07T10:00:00", tenant=tenant, bytes=1)


def amendments() -> Iterator[Row]:
    for id, day in (("voided", 1), ("replaced", 2), ("twice", 3), ("pending", 8), ("closed", 9), ("closed-swap", 10)):
        yield event(id, f"2026-04-{day:02}T10:00:00", tenant="fix", bytes=100)
    yield event("m1", "2026-04-20T10:00:00", tenant="fix", kind="void", amends="voided")
    yield event("m2", "2026-04-20T10:00:00", tenant="fix", kind="replace", amends="replaced", bytes=30)
    yield event("m3", "2026-04-20T10:00:00", tenant="fix", kind="replace", amends="twice", bytes=50)
    yield event("m4", "2026-04-21T10:00:00", tenant="fix", kind="replace", amends="twice", bytes=60)
    yield event("m5", "2026-04-05T10:00:00", tenant="fix", kind="replace", amends="pending", bytes=7)  # lands before its target
    yield event("m6", "2026-05-04T10:00:00", tenant="fix", kind="void", amends="closed")  # after the cut-off
    yield event("m7", "2026-05-04T11:00:00", tenant="fix", kind="replace", amends="closed-swap", bytes=40)
    yield event("m8", "2026-04-20T10:00:00", tenant="fix", kind="void", amends="never-seen")


def boundaries() -> Iterator[Row]:
    # April ends in New York at 04:00Z, in Kathmandu at 18:15Z of the day before; both half-open.
    yield event("in", "2026-05-01T03:59:59.999999", tenant="ny")
    yield event("out", "2026-05-01T04:00:00", tenant="ny")
    yield event("in", "2026-04-30T18:14:59.999999", tenant="ktm")
    yield event("out", "2026-04-30T18:15:00", tenant="ktm")


def http(tenant: str, *ids: str, at: str = "2026-04-10T10:00:00", landed: str | None = None) -> Iterator[Row]:
    for number, id in enumerate(ids):
        yield event(id, at.replace(":00:00", f":{number:02}:00"), landed, tenant=tenant)


def logged(tenant: str, *ids: str | None, hour: str = "2026-04-10T10:00:00") -> Iterator[Row]:
    for id in ids:
        yield seen(id, hour, tenant=tenant)


def variances() -> tuple[list[Row], list[Row]]:
    events = [
        *http("v-missing", "a"),
        *http("v-extra", "a", "b"),
        *http("v-logtwice", "a", "b"),
        *http("v-resent", "a"),
        event("fresh", "2026-04-10T10:00:00", tenant="v-resent"),
        event("a", "2026-04-10T10:00:00", tenant="v-value", bytes=90),
        *http("v-late", "a"),
        *http("v-late", "b", at="2026-04-10T11:00:00", landed="2026-05-04"),
        *http("v-month", "a"),
        *http("v-month", "b", at="2026-05-01T00:00:00"),
        *http("v-amended", "a", "b"),
        event("undo", "2026-04-11T10:00:00", tenant="v-amended", kind="void", amends="a"),
        event("undo-late", "2026-05-04T10:00:00", tenant="v-amended", kind="void", amends="b"),
        event("a", "2026-04-10T10:00:00", tenant="v-swapped", bytes=90, path="/old"),
        event("swap", "2026-04-11T10:00:00", tenant="v-swapped", kind="replace", amends="a", bytes=120, path="/new"),
        *http("v-hourly", "a", "b", "c"),
        event("swap", "2026-04-11T10:00:00", tenant="v-hourly", kind="replace", amends="a"),
        *http("v-unreferenced", "a", "b"),
        *http("v-floor", "a"),
        *http("v-explained", "a", "b", "c"),
        *http("v-expired", "a", "b", "c"),
        event("a", "2026-04-10T10:00:00", tenant="v-exact", bytes=40100),
        event("a", "2026-04-10T10:00:00", tenant="v-above", bytes="100250000000.000000001"),
        load("a", "2026-04-10T10:00:00", 5, tenant="v-peak"),
        event("a", "2026-04-10T10:00:00", tenant="v-items", path="/a"),
        event("b", "2026-04-10T10:00:00", tenant="v-items", path="/b"),
        event("d", "2026-04-10T10:00:00", tenant="v-items", path="/d"),
    ]
    log = [
        *logged("v-missing", "a", "m"),
        *logged("v-extra", "a"),
        *logged("v-logtwice", "a", "a", "b"),
        *logged("v-resent", "a"),
        seen("a", "2026-04-10T10:00:00", 100, tenant="v-value", meter="egress"),
        *logged("v-late", "a", "b"),
        *logged("v-month", "a"),
        *logged("v-month", "b", hour="2026-04-30T23:00:00"),
        *logged("v-amended", "a", "b"),
        seen("a", "2026-04-10T10:00:00", 90, tenant="v-swapped", meter="egress"),
        seen(None, "2026-04-10T10:00:00", tenant="v-swapped", meter="paths", item="/old"),
        seen(None, "2026-04-10T10:00:00", tenant="v-swapped", meter="paths", item="/x"),
        *logged("v-hourly", None, None),
        seen(None, "2026-04-10T12:00:00", 3, tenant="v-hourly"),
        *logged("v-explained", "a"),
        *logged("v-expired", "a"),
        seen("a", "2026-04-10T10:00:00", 40000, tenant="v-exact", meter="egress"),
        seen("a", "2026-04-10T10:00:00", 100000000000, tenant="v-above", meter="egress"),
        seen(None, "2026-04-10T10:00:00", 4, tenant="v-peak", meter="largest"),
        seen(None, "2026-04-10T10:00:00", tenant="v-items", meter="paths", item="/a"),
        seen(None, "2026-04-10T11:00:00", tenant="v-items", meter="paths", item="/a"),
        seen(None, "2026-04-10T11:00:00", tenant="v-items", meter="paths", item="/c"),
        seen(None, "2026-04-10T11:00:00", tenant="v-items", meter="paths"),
    ]
    return events, log


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Bench:
    bench = make_bench(tmp_path_factory.mktemp("metering"))
    events, log = variances()
    events += [*aggregated(), *identities(), *amendments(), *boundaries()]
    tenants = sorted({str(row["tenant_id"]) for row in (*events, *log)})
    line = "  - {{tenant_id: {0}, name: {0}, zone: {1}, currency: USD, plan: p, grace_days: 2}}\n"
    bench.declare("tenants", "tenants:\n" + "".join(line.format(tenant, ZONES.get(tenant, "UTC")) for tenant in tenants))
    for name, text in (("meters", METERS), ("conflicts", CONFLICTS), ("explained", EXPLAINED)):
        bench.declare(name, text)
    sign_explanations(bench.home, "2026-04")
    bench.land(events, log)
    days = sorted({str(row["landing_day"]) for row in (*events, *log)})
    bench.build(days, ["2026-04-01", "2026-05-01"])
    return bench


def quantities(bench: Bench, tenant: str, meter: str, month: str = "2026-04") -> dict[str, Decimal]:
    query = f"""SELECT dimension, quantity FROM metering.usage_period
                WHERE tenant_id = '{tenant}' AND meter = '{meter}' AND period = '{month}-01'"""
    return dict(bench.rows(query, "metering.usage_period"))


def quantity(bench: Bench, tenant: str, meter: str, month: str = "2026-04") -> Decimal:
    (found,) = quantities(bench, tenant, meter, month).values()
    return found


@pytest.mark.parametrize(
    ("meter", "expected"),
    [
        ("requests", "4"),
        ("egress", "250.6"),  # 100 + 50.5 + 100.1; e4 has no bytes
        ("smallest", "-1.5"),
        ("largest", "2"),
        ("mean", "0.333333333"),  # (-1.5 + 2 + 0.5) / 3
        ("gauge", "7"),
        ("paths", "2"),
        ("blocks", "3"),
        ("seats", "8"),  # 10 for 15 days and 6 for 15 of 30
        ("good", "3"),
    ],
)
def test_each_aggregation_gives_what_a_hand_calculates(built: Bench, meter: str, expected: str) -> None:
    assert quantity(built, "agg", meter) == Decimal(expected)


@pytest.mark.parametrize(
    ("tenant", "expected"), [("unsaid-later", 7), ("unsaid-first", 5), ("unsaid-both", 5), ("by-id", 5), ("by-quantity", 7)]
)
def test_of_readings_at_one_instant_that_landed_on_two_days_the_latest_is_the_same_each_time(
    built: Bench, tenant: str, expected: int
) -> None:
    # Ingest time first, where none counts as the newest; then the greater id; then, of two sources, the greater quantity.
    assert quantity(built, f"tied-{tenant}", "gauge") == expected


def test_dimensions_keep_their_quantities_apart(built: Bench) -> None:
    assert quantities(built, "agg", "by_status") == {'{"status":"200"}': 2, '{"status":"204"}': 1, '{"status":"500"}': 1}


def test_a_level_carries_into_the_next_month(built: Bench) -> None:
    # 6 for all 31 days of May and 3 more for the last 21: (186 + 63) / 31 = 8.0322580645...
    assert quantity(built, "agg", "seats", "2026-05") == Decimal("8.032258065")
    ratio = """SELECT numerator, denominator, events FROM metering.usage_period
               WHERE tenant_id = 'agg' AND meter = 'seats' AND period = '2026-05-01'"""
    day = 86_400_000_000  # microseconds
    assert built.rows(ratio, "metering.usage_period") == [(249 * day, 31 * day, 1)]


def test_an_average_keeps_numerator_and_denominator(built: Bench) -> None:
    query = "SELECT numerator, denominator FROM metering.usage_period WHERE tenant_id = 'agg' AND meter = 'mean'"
    assert built.rows(query, "metering.usage_period") == [(1, 3)]


def test_unique_items_of_days_do_not_add_up_to_the_month(built: Bench) -> None:
    query = """SELECT CAST(day AS VARCHAR), count(DISTINCT item) FROM metering.usage_daily
               WHERE tenant_id = 'agg' AND meter = 'blocks' GROUP BY day ORDER BY day"""
    assert built.rows(query, "metering.usage_daily") == [("2026-04-01", 2), ("2026-04-02", 2)]
    assert quantity(built, "agg", "blocks") == 3


def test_an_id_sent_again_after_forty_days_counts_once(built: Bench) -> None:
    assert quantity(built, "same", "requests") == 2  # r1 of two sources
    assert built.rows("SELECT count(*) FROM metering.usage_events WHERE tenant_id = 'same'", "metering.usage_events") == [(2,)]


def test_conflicts_are_open_until_settled(built: Bench) -> None:
    query = "SELECT kind, tenant_id, id, versions, status, choice FROM metering.conflicts WHERE tenant_id = 'clash' ORDER BY kind, id"
    assert built.rows(query, "metering.conflicts") == [
        ("payload_differs", "clash", "dropped", 2, "settled", "void"),
        ("payload_differs", "clash", "kept", 2, "settled", "first"),
        ("payload_differs", "clash", "open", 2, "open", None),
        ("tenant_differs", "clash", "shared", 2, "open", None),
        ("tenant_differs", "clash", "shared-void", 2, "settled", "void"),
    ]
    counts = """SELECT count(*) FILTER (WHERE status = 'open'), count(*) FILTER (WHERE status = 'settled')
                FROM metering.conflicts WHERE period = '2026-04-01'"""
    summary = "SELECT open_conflicts, settled_conflicts FROM metering.conflict_summary WHERE period = '2026-04-01'"
    assert built.rows(summary, "metering.conflict_summary") == built.rows(counts, "metering.conflicts")


def test_of_conflicting_copies_the_first_counts_and_a_void_choice_counts_nothing(built: Bench) -> None:
    assert quantity(built, "clash", "egress") == 202  # open 100, kept 100, dropped 0, shared 1, shared-void 1
    assert quantity(built, "clash2", "egress") == 1  # shared; shared-void was settled as void


def test_amendments_that_landed_by_the_cut_off_count_in_their_targets_day(built: Bench) -> None:
    # replaced 30, twice 60, pending 7; closed and closed-swap as they stood at the cut-off: 100 each
    assert quantity(built, "fix", "egress") == 297
    assert quantity(built, "fix", "requests") == 5
    query = """SELECT CAST(day AS VARCHAR), CAST(quantity_sum AS INTEGER) FROM metering.usage_daily
               WHERE tenant_id = 'fix' AND meter = 'egress' AND until_day = '9999-12-31' ORDER BY day"""
    assert built.rows(query, "metering.usage_daily") == [("2026-04-02", 30), ("2026-04-03", 60), ("2026-04-08", 7), ("2026-04-10", 40)]


def test_what_an_amendment_after_the_cut_off_changes_is_late(built: Bench) -> None:
    query = """SELECT CAST(landing_day AS VARCHAR), CAST(day AS VARCHAR), events, CAST(quantity AS INTEGER) FROM metering.late_events
               WHERE tenant_id = 'fix' AND meter = 'egress' ORDER BY day"""
    assert built.rows(query, "metering.late_events") == [("2026-05-04", "2026-04-09", -1, -100), ("2026-05-04", "2026-04-10", 0, -60)]


@pytest.mark.parametrize("tenant", ["ny", "ktm"])
def test_months_end_at_the_tenants_midnight(built: Bench, tenant: str) -> None:
    assert quantity(built, tenant, "requests") == 1
    assert quantity(built, tenant, "requests", "2026-05") == 1


def variance(bench: Bench, tenant: str, meter: str) -> tuple[object, ...]:
    query = f"""SELECT metered, reference, variance_ratio, status, judged_ratio FROM metering.variance
                WHERE tenant_id = '{tenant}' AND meter = '{meter}' AND period = '2026-04-01'"""
    (row,) = bench.rows(query, "metering.variance")
    return tuple(row)


@pytest.mark.parametrize(
    ("tenant", "meter", "causes"),
    [
        ("v-missing", "requests", [("missing", -1, "m")]),
        ("v-extra", "requests", [("extra", 1, "b")]),
        ("v-logtwice", "requests", [("duplicate", -1, "a")]),
        ("v-resent", "requests", [("duplicate", 1, "fresh")]),
        ("v-value", "egress", [("value_differs", -10, "a")]),
        ("v-late", "requests", [("period_differs", -1, "b")]),
        ("v-month", "requests", [("period_differs", -1, "b")]),
        ("v-amended", "requests", [("amended", -1, "a")]),
        ("v-swapped", "egress", [("amended", 30, "a")]),
        ("v-swapped", "paths", [("amended", 0, "/new"), ("missing", -1, "/x")]),
        ("v-hourly", "requests", [("hourly", -2, "2026-04-10T10:00Z")]),
        ("v-peak", "largest", [("value_differs", 1, None)]),
        ("v-items", "paths", [("extra", 2, "/b"), ("missing", -1, "/c")]),
        ("v-unreferenced", "requests", [("extra", 2, "a")]),
    ],
)
def test_causes_of_a_difference(built: Bench, tenant: str, meter: str, causes: list[tuple[str, int, str | None]]) -> None:
    query = f"""SELECT cause, CAST(quantity AS INTEGER), sample FROM metering.variance_causes
                WHERE tenant_id = '{tenant}' AND meter = '{meter}' AND period = '2026-04-01' ORDER BY cause"""
    assert built.rows(query, "metering.variance_causes") == causes


def test_causes_add_up_to_every_difference(built: Bench) -> None:
    query = """SELECT count(*), count(*) FILTER (WHERE delta <> coalesce(quantity, 0)) FROM metering.variance
               LEFT JOIN (SELECT period, tenant_id, meter, sum(quantity) AS quantity FROM metering.variance_causes GROUP BY ALL)
               USING (period, tenant_id, meter)"""
    ((pairs, wrong),) = built.rows(query, "metering.variance", "metering.variance_causes")
    assert pairs > 40
    assert wrong == 0


def test_usage_that_the_log_does_not_know_is_unreferenced_unless_within_the_floor(built: Bench) -> None:
    assert variance(built, "v-unreferenced", "requests") == (2, 0, None, "unreferenced", 0)
    assert variance(built, "v-floor", "requests") == (1, 0, 1, "within_floor", 0)
    ((unreferenced, pairs),) = built.rows(
        "SELECT unreferenced, pairs FROM metering.variance_unreferenced WHERE period = '2026-04-01'", "metering.variance_unreferenced"
    )
    assert 0 < unreferenced < pairs


def test_an_explanation_holds_through_the_cut_off_day_and_not_after_its_expiry(built: Bench) -> None:
    assert variance(built, "v-explained", "requests") == (3, 1, 2, "explained", 0)
    assert variance(built, "v-expired", "requests") == (3, 1, 2, "judged", 2)


def test_the_ratio_is_exact_at_the_bound_and_rounds_up_beyond_it(built: Bench) -> None:
    assert variance(built, "v-exact", "egress")[2:] == (Decimal("0.0025"), "judged", Decimal("0.0025"))
    # 250000000.000000001 / 100000000000 = 0.00250000000000000001
    assert variance(built, "v-above", "egress")[2:] == (Decimal("0.002500001"), "judged", Decimal("0.002500001"))


def test_plus_and_minus_do_not_cancel_in_a_meters_variance(built: Bench) -> None:
    query = (
        """SELECT absolute, net, reference, variance_ratio FROM metering.variance_meters WHERE meter = 'paths' AND period = '2026-04-01'"""
    )
    ((absolute, net, expected, ratio),) = built.rows(query, "metering.variance_meters")
    by_tenant = built.rows("SELECT delta FROM metering.variance WHERE meter = 'paths' AND period = '2026-04-01'", "metering.variance")
    assert absolute == sum(abs(delta) for (delta,) in by_tenant)
    assert net == sum(delta for (delta,) in by_tenant)
    assert (expected, ratio) == (4, Decimal(absolute / 4).quantize(Decimal("1e-9"), "ROUND_CEILING"))


def test_the_reports_days_add_up_to_the_month_for_additive_meters(built: Bench) -> None:
    for meter in ("requests", "egress", "good"):
        days = f"SELECT sum(quantity) FROM metering.usage_meter_days WHERE meter = '{meter}' AND period = '2026-04-01'"
        month = f"SELECT sum(quantity) FROM metering.usage_period WHERE meter = '{meter}' AND period = '2026-04-01'"
        assert built.rows(days, "metering.usage_meter_days") == built.rows(month, "metering.usage_period")


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [("1", "3", "0.333333333"), ("0.000000001", "2", "0.000000001"), ("-0.000000001", "2", "-0.000000001"), ("5", "0", "0")],
)
def test_a_quotient_is_rounded_once_half_up(numerator: str, denominator: str, expected: str) -> None:
    assert quotient(Decimal(numerator), Decimal(denominator)) == Decimal(expected)


def test_a_meter_that_cannot_be_counted_is_named() -> None:
    meter = reference.Meter(meter="m", type="t", aggregation="sum", unit="u")
    with pytest.raises(MissionError, match="meter m aggregates by sum and so needs `value`"):
        meter_select(meter)
    with pytest.raises(MissionError, match="names column 'colour'"):
        meter_select(meter.model_copy(update={"value": "colour"}))


def test_text_in_a_declaration_is_never_sql() -> None:
    meter = reference.Meter(meter="m", type="it's", aggregation="count", unit="u", filter={"status": ("' OR true --",)})
    assert "type = 'it''s' AND status IN (''' OR true --')" in meter_select(meter)


def test_late_usage_is_kept_apart_from_the_close(built: Bench) -> None:
    query = "SELECT CAST(landing_day AS VARCHAR), day, events FROM metering.late_events WHERE tenant_id = 'v-late' AND meter = 'requests'"
    assert built.rows(query, "metering.late_events") == [("2026-05-04", date(2026, 4, 10), 1)]
    assert quantity(built, "v-late", "requests") == 1
