"""The LLM traces closed at their own dates, November 2023: counted from events in three formats, against hourly totals without ids.

Control totals: the publishers' files, counted once with awk (data/samples/README.md).
"""

from datetime import UTC, date, datetime

import pytest

from mc_pipelines import demo, samples
from mc_pipelines.attempts import Attempt
from mc_pipelines.close import attempt
from mc_pipelines.engine import connect
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Lake
from mc_pipelines.runner import Workshop, materialise
from mc_pipelines.samples import Replay
from mc_pipelines.starter import write_home
from mc_pipelines.windows import in_use

OWN = (  # instants of the first rows; Mooncake has none of its own and begins with the others
    Replay("azure_llm_conv", "conv", datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC)),
    Replay("azure_llm_code", "code", datetime(2023, 11, 16, 18, 17, 3, 979960, tzinfo=UTC)),
    Replay("mooncake_conversation", "mooncake", datetime(2023, 11, 16, 18, tzinfo=UTC)),
)
METERS = """meters:
  - {meter: requests, type: llm.completion, aggregation: count, unit: request}
  - {meter: context_tokens, type: llm.completion, aggregation: sum, value: context_tokens, unit: token}
  - {meter: generated_tokens, type: llm.completion, aggregation: sum, value: generated_tokens, unit: token}
  - {meter: unique_blocks, type: llm.completion, aggregation: unique_count, value: blocks, list: true, unit: block}
"""


def land(home: Home) -> None:
    """Each trace in a format of its own, and the provider's hourly report of all three."""
    con = connect()
    write = {"conv": (demo._csv, "csv"), "code": (demo._ndjson, "ndjson"), "mooncake": (demo._parquet, "parquet")}
    for replay in OWN:
        made, ending = write[replay.tenant_id]
        for day, events in demo.by_landing_day(samples.llm_events(replay)).items():
            demo.place(home.landing / "usage_events" / day.isoformat() / f"{replay.trace}.{ending}", made(events))
        report = samples.gateway_llm(con, replay)
        if replay is OWN[0]:
            report.create("gateway")
        else:
            report.insert_into("gateway")
    demo.place(home.landing / "gateway_log" / "2023-11-16" / "gateway.parquet", demo._gateway_file(con, date(2023, 11, 16)))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Attempt]:
    home = Home(tmp_path_factory.mktemp("november"))
    write_home(home.root)
    (home.reference / "price_books" / "example.yaml").unlink()
    tenants = "".join(
        f"  - {{tenant_id: {each.tenant_id}, name: {each.trace}, zone: America/Los_Angeles, currency: USD, plan: p, grace_days: 1}}\n"
        for each in OWN
    )
    (home.reference / "tenants.yaml").write_text("tenants:\n" + tenants, encoding="utf-8")
    (home.reference / "meters.yaml").write_text(METERS, encoding="utf-8")
    (home.reference / "calendar.yaml").write_text("start: 2023-11-01\nend: 2023-12-31\n", encoding="utf-8")
    sources = home.reference / "sources.yaml"
    sources.write_text(sources.read_text(encoding="utf-8").replace("2026-01-01", "2023-11-16"), encoding="utf-8")
    land(home)
    shop = Workshop.open(home)
    for model in in_use(shop.home, shop.catalog):
        materialise(shop, model, {"day": ["2023-11-16"], "month": ["2023-11-01"], "once": [WHOLE]}[model.header.every])
    return home, attempt(home, "2023-11")


def test_both_sides_meet_the_published_totals(closed: tuple[Home, Attempt]) -> None:
    con = connect()
    Lake(str(closed[0].lake)).view(con, "metering.variance")
    rows = con.sql("SELECT tenant_id, meter, metered, reference, status FROM metering.variance ORDER BY ALL").fetchall()
    totals = {
        ("conv", "requests"): 19_366,
        ("conv", "context_tokens"): 22_361_870,
        ("conv", "generated_tokens"): 4_088_665,
        ("code", "requests"): 8_819,
        ("code", "context_tokens"): 18_059_974,
        ("code", "generated_tokens"): 245_896,
        ("mooncake", "requests"): 12_031,
        ("mooncake", "context_tokens"): 144_793_823,
        ("mooncake", "generated_tokens"): 4_122_048,
        ("mooncake", "unique_blocks"): 182_790,  # of 288 500 block ids
    }
    assert {(tenant, meter): (metered, reference) for tenant, meter, metered, reference, _ in rows} == {
        key: (total, total) for key, total in totals.items()
    }


def test_the_close_passes_but_for_the_days_that_nobody_logged(closed: tuple[Home, Attempt]) -> None:
    statuses = {result.gate: result.status for result in closed[1].results}
    assert statuses.pop("metering_landing_complete") == "failed"  # a trace of one hour is no month
    assert statuses.pop("metering_landing_fresh") == "failed"
    assert set(statuses.values()) == {"passed"}
    assert closed[1].verdict == "failed"
