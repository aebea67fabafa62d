"""The committed samples against their published control totals, read by both paths; traces closed at their own dates.

Control totals: the data sets' own rows, counted once with awk and sha256sum when the samples were made (data/samples/README.md).
"""

import re
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from mc_pipelines import demo, samples
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.samples import Replay
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

OWN_DATES = {day: [day] for day in samples.LOG_DAYS}


def test_no_address_is_left_in_the_access_log() -> None:
    lines = samples.log_lines()
    assert all(re.match(r"[0-9a-f]{16} ", line) for line in lines)
    assert not any(re.search(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3} - - ", line) for line in lines)


def test_the_access_log_meets_its_control_totals() -> None:
    lines = samples.log_lines()
    events = list(samples.access_events(lines, OWN_DATES, by_client=True))
    assert len(lines) == len(events) == 10_000
    assert len({event["subject"] for event in events}) == 1_753
    assert sum(event["data"].get("bytes", 0) for event in events) == 2_747_282_740
    assert sum("bytes" not in event["data"] for event in events) == 669
    assert len(events) - len({event["id"] for event in events}) == 19
    statuses = Counter(event["data"]["status"] for event in events)
    assert {status: statuses[status] for status in ("200", "304", "404", "301", "206", "500")} == {
        "200": 9126,
        "304": 445,
        "404": 213,
        "301": 164,
        "206": 45,
        "500": 3,
    }


@pytest.mark.parametrize(
    ("trace", "rows", "context", "generated"),
    [
        ("azure_llm_conv", 19_366, 22_361_870, 4_088_665),
        ("azure_llm_code", 8_819, 18_059_974, 245_896),
        ("mooncake_conversation", 12_031, 144_793_823, 4_122_048),
    ],
)
def test_an_llm_trace_meets_its_control_totals_on_both_paths(trace: str, rows: int, context: int, generated: int) -> None:
    replay = Replay(trace, "acme", datetime(2023, 11, 16, 18, tzinfo=UTC))
    events = list(samples.llm_events(replay))
    totals = (len(events), sum(e["data"]["context_tokens"] for e in events), sum(e["data"]["generated_tokens"] for e in events))
    assert totals == (rows, context, generated)
    gateway = dict(samples.gateway_llm(connect(), replay).aggregate("meter, sum(quantity)").fetchall())
    assert (gateway["requests"], gateway["context_tokens"], gateway["generated_tokens"]) == (rows, context, generated)


def test_mooncake_has_its_block_ids() -> None:
    replay = Replay("mooncake_conversation", "acme", datetime(2023, 11, 20, tzinfo=UTC))
    blocks = [block for event in samples.llm_events(replay) for block in event["data"]["blocks"]]
    assert (len(blocks), len(set(blocks))) == (288_500, 182_790)


def test_both_paths_read_the_same_paths_and_instants_from_the_log() -> None:
    events = list(samples.access_events(samples.log_lines(), OWN_DATES, by_client=True))
    rows = samples.gateway_access(connect(), OWN_DATES, by_client=True).filter("meter = 'unique_paths'").fetchall()
    metered = Counter((event["subject"], event["id"], event["data"]["path"], event["time"][:19]) for event in events)
    logged = Counter((tenant, identity, item, f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}") for tenant, _, _, at, identity, item, _, _ in rows)
    assert metered == logged


@pytest.fixture(scope="module")
def may_2015(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The access log at its own dates, one tenant per client, built up to the causes."""
    home = Home(tmp_path_factory.mktemp("may"))
    clients = sorted({line.split(" ")[0] for line in samples.log_lines()})
    reference = home.reference
    write_home(home.root)
    tenants = "".join(f"  - {{tenant_id: '{each}', name: Client, zone: UTC, currency: USD, plan: p, grace_days: 0}}\n" for each in clients)
    (reference / "tenants.yaml").write_text("tenants:\n" + tenants, encoding="utf-8")
    (reference / "calendar.yaml").write_text("start: 2015-05-01\nend: 2015-05-31\n", encoding="utf-8")
    (reference / "explained.yaml").write_text("explained: []\n", encoding="utf-8")
    (reference / "meters.yaml").write_text(
        "meters:\n  - {meter: api_requests, type: http.request, aggregation: count, unit: request, floor: 0.5}\n"
        "  - {meter: egress_bytes, type: http.request, aggregation: sum, value: bytes, unit: byte, floor: 0.5}\n",
        encoding="utf-8",
    )
    events = list(samples.access_events(samples.log_lines(), OWN_DATES, by_client=True))
    for day, landed in demo.by_landing_day(events).items():
        demo.place(home.landing / "usage_events" / day.isoformat() / "access.ndjson", demo._ndjson(landed))
    con = connect()
    samples.gateway_access(con, OWN_DATES, by_client=True).filter("meter <> 'unique_paths'").create("gateway")
    for day in samples.LOG_DAYS:
        demo.place(home.landing / "gateway_log" / day.isoformat() / "gateway.parquet", demo._gateway_file(con, day))
    shop = Workshop.open(home)
    windows = {"day": [day.isoformat() for day in samples.LOG_DAYS], "month": ["2015-05-01"], "once": [WHOLE]}
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, windows[model.header.every])
    return home


def rows_of(home: Home, table: str, query: str) -> list[tuple[object, ...]]:
    con = connect()
    Lake(str(home.lake)).view(con, table)
    return con.sql(query).fetchall()


def test_at_its_own_dates_the_log_closes_with_19_duplicates(may_2015: Home) -> None:
    (totals,) = rows_of(
        may_2015, "metering.variance_meters", "SELECT metered, reference, net FROM metering.variance_meters WHERE meter = 'api_requests'"
    )
    assert totals == (9_981, 10_000, -19)
    (sent,) = rows_of(may_2015, "metering.variance_meters", "SELECT reference FROM metering.variance_meters WHERE meter = 'egress_bytes'")
    assert sent == (2_747_282_740,)


def test_seven_tenants_exceed_a_quarter_percent_and_each_is_told_duplicate(may_2015: Home) -> None:
    breaches = rows_of(
        may_2015,
        "metering.variance",
        "SELECT tenant_id, reference, metered FROM metering.variance WHERE meter = 'api_requests' AND variance_ratio > 0.0025",
    )
    assert len(breaches) == 7
    assert (364, 351) in {(reference, metered) for _, reference, metered in breaches}
    causes = rows_of(
        may_2015, "metering.variance_causes", "SELECT tenant_id, cause FROM metering.variance_causes WHERE meter = 'api_requests'"
    )
    assert sorted(causes) == sorted((tenant, "duplicate") for tenant, _, _ in breaches)


def test_the_demo_lands_the_same_bytes_twice_and_refuses_what_another_landed(tmp_path: Path) -> None:
    path = tmp_path / "landing" / "a"
    demo.place(path, b"x")
    demo.place(path, b"x")
    with pytest.raises(MissionError, match="something else has landed"):
        demo.place(path, b"y")


def test_the_log_is_dealt_over_the_month_in_order() -> None:
    dealt = demo.calendar()
    assert dealt[date(2015, 5, 17)][:2] == [date(2026, 4, 1), date(2026, 4, 5)]
    assert sorted(day for days in dealt.values() for day in days) == [date(2026, 4, number) for number in range(1, 31)]


@pytest.mark.parametrize("fault", sorted(demo.DRILLS))
def test_a_drill_changes_the_metered_side(fault: str) -> None:
    events, planted = demo.plant(list(samples.access_events(samples.log_lines(), demo.calendar())))
    assert planted == demo.PLANTED
    assert demo.DRILLS[fault](events) != events
