"""Fixtures that several test files share: a home with reference data, and staged rows put into its lake by hand."""

import hashlib
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from browsing import CHROMIUM

from mc_pipelines.engine import connect
from mc_pipelines.home import Home
from mc_pipelines.lake import WHOLE, Draft
from mc_pipelines.runner import Outcome, Workshop, bind_views, materialise
from mc_pipelines.starter import write_home

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TEXT, DAY, INSTANT, WHOLE_NUMBER, EXACT = pa.string(), pa.date32(), pa.timestamp("us"), pa.int64(), pa.decimal128(38, 9)
KEY = pa.decimal128(38, 0)
STAGED: dict[str, dict[str, Any]] = {
    "staging.usage_events": {
        "landing_day": DAY,
        **dict.fromkeys(("tenant_id", "source", "id", "type"), TEXT),
        "occurred_at": INSTANT,
        "occurred_us": WHOLE_NUMBER,
        "ingested_at": INSTANT,
        **dict.fromkeys(("kind", "amends_source", "amends_id"), TEXT),
        "bytes": EXACT,
        "path": TEXT,
        "status": TEXT,
        "context_tokens": EXACT,
        "generated_tokens": EXACT,
        "blocks": TEXT,
        "value": EXACT,
        "extras": TEXT,
        "replay_of": DAY,
        **dict.fromkeys(("event_key", "amends_key"), KEY),
        "copy": WHOLE_NUMBER,
    },
    "staging.gateway_log": {
        "landing_day": DAY,
        "tenant_id": TEXT,
        "meter": TEXT,
        "hour": INSTANT,
        "id": TEXT,
        "item": TEXT,
        "quantity": EXACT,
        "occurred_at": INSTANT,
    },
}
for _source in ("usage_events", "gateway_log"):
    STAGED[f"landing.{_source}"] = {
        "landing_day": DAY,
        "file": TEXT,
        "sha256": TEXT,
        **dict.fromkeys(("bytes", "rows_in", "accepted", "quarantined"), WHOLE_NUMBER),
        "unknown_fields": TEXT,
        "contract_version": TEXT,
        "left_because": TEXT,
    }
    STAGED[f"quarantine.{_source}"] = {
        "source": TEXT,
        "landing_day": DAY,
        "contract_version": TEXT,
        "file": TEXT,
        "offset": WHOLE_NUMBER,
        **dict.fromkeys(("reasons", "raw", "tenant_id", "type", "quantity_text", "run_id", "resolution"), TEXT),
    }

Row = Mapping[str, object]


def md5(*parts: str) -> str:
    return hashlib.md5("\x1f".join(parts).encode()).hexdigest()


def key(*parts: str) -> Decimal:
    """The upper 126 bits of an md5, as staging has them."""
    return Decimal(int.from_bytes(hashlib.md5("\x1f".join(parts).encode()).digest(), "little") >> 2)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def instant(text: str) -> datetime:
    """Naive UTC, as staged."""
    return datetime.fromisoformat(text)


def event(
    id: str,
    at: str,
    landed: str | None = None,
    *,
    tenant: str = "acme",
    source: str = "edge",
    type: str = "http.request",
    ingested: str | None = None,
    kind: str = "usage",
    amends: str | None = None,
    **data: object,
) -> Row:
    """One staged usage event. `at` is naive UTC; it lands on its own UTC day unless `landed` says otherwise."""
    occurred = instant(at)
    return {
        "landing_day": date.fromisoformat(landed or at[:10]),
        "tenant_id": tenant,
        "source": source,
        "id": id,
        "type": type,
        "occurred_at": occurred,
        "occurred_us": int(occurred.replace(tzinfo=UTC).timestamp()) * 1_000_000 + occurred.microsecond,
        "ingested_at": instant(ingested or at),
        "kind": kind,
        "amends_source": source if amends else None,
        "amends_id": amends,
        "event_key": key(tenant, source, id),
        "amends_key": key(tenant, source, amends) if amends else None,
        **{name: Decimal(str(value)) if STAGED["staging.usage_events"][name] == EXACT else value for name, value in data.items()},
    }


def bind(shop: Workshop, con: duckdb.DuckDBPyConnection, table: str) -> None:
    """Let `con` see the newest version of a table, or a view over the newest versions of what it reads."""
    declared = shop.catalog.models.get(table)
    if declared is None or not declared.header.view:
        assert shop.lake.view(con, table) is not None, table
        return
    reader = next(model for model in shop.catalog.ordered() if table in model.deps)
    for stored in shop.catalog.inputs(reader):
        assert shop.lake.view(con, stored) is not None, stored
    bind_views(shop, con, reader)


def numbered(events: Sequence[Row]) -> list[Row]:
    """Staged events with the place of each among the copies of its landing day."""
    ordered = sorted(events, key=lambda row: (row["landing_day"], row["event_key"], row["ingested_at"], repr(sorted(row.items()))))
    same = groupby(ordered, key=lambda row: (row["landing_day"], row["event_key"]))
    return [{**row, "copy": place} for _, rows in same for place, row in enumerate(rows, 1)]


def seen(
    id: str | None,
    hour: str,
    quantity: object = 1,
    *,
    tenant: str = "acme",
    meter: str = "requests",
    item: str | None = None,
    landed: str | None = None,
) -> Row:
    """One staged row of the gateway log."""
    return {
        "landing_day": date.fromisoformat(landed or hour[:10]),
        "tenant_id": tenant,
        "meter": meter,
        "hour": instant(hour),
        "id": id,
        "item": item,
        "quantity": Decimal(str(quantity)),
    }


@dataclass
class Bench:
    """A home whose lake is filled by hand, so that tables are tested apart from the landing of files."""

    shop: Workshop

    @property
    def home(self) -> Home:
        return self.shop.home

    def declare(self, name: str, text: str) -> None:
        """Write one reference file."""
        (self.home.reference / f"{name}.yaml").write_text(text, encoding="utf-8")

    def put(self, table: str, rows: Sequence[Row], days: Iterable[str] = ()) -> None:
        """Replace the landing days that `rows` or `days` name by `rows`, in one commit."""
        schema = pa.schema(list(STAGED[table].items()))
        data = pa.table({each.name: pa.array([row.get(each.name) for row in rows], each.type) for each in schema}, schema=schema)
        by_day: dict[str, list[str]] = {day: [] for day in days}
        for row in rows:
            by_day.setdefault(str(row["landing_day"]), []).append(repr(sorted(row.items())))
        recipes = {day: md5(*sorted(lines)) for day, lines in by_day.items()}
        con = connect()
        self.shop.lake.replace(table, "landing_day", lambda: Draft(con.from_arrow(data), recipes, {}))

    def land(self, events: Sequence[Row] = (), log: Sequence[Row] = (), days: Iterable[str] = ()) -> None:
        """Both sources of some landing days, as one file a day of which every row was accepted."""
        windows = sorted({str(row["landing_day"]) for row in (*events, *log)} | set(days))
        for source, rows in (("usage_events", events), ("gateway_log", log)):
            landed = Counter(row["landing_day"] for row in rows)
            facts = [
                {"landing_day": day, "file": "a.ndjson", "rows_in": count, "accepted": count, "quarantined": 0}
                for day, count in landed.items()
            ]
            self.put(f"quarantine.{source}", [], windows)
            self.put(f"landing.{source}", facts, windows)
            self.put(f"staging.{source}", rows if source == "gateway_log" else numbered(rows), windows)

    def build(self, days: Sequence[str], months: Sequence[str] = ("2026-04-01",)) -> dict[str, Outcome]:
        """Every table after staging in order; those by month only where `months` names some."""
        windows = {"day": days, "month": months, "once": [WHOLE]}
        return {
            model.key: materialise(self.shop, model, windows[model.header.every])
            for model in self.shop.catalog.ordered()
            if model.deliverable in ("reference", "metering") and windows[model.header.every]
        }

    def rows(self, query: str, *tables: str) -> list[tuple[Any, ...]]:
        """Rows of a query over the newest version of `tables`."""
        con = connect()
        for table in tables:
            bind(self.shop, con, table)
        return con.sql(query).fetchall()


@pytest.fixture(scope="session")
def make_bench() -> Callable[[Path], Bench]:
    def make(root: Path) -> Bench:
        write_home(root)
        rmtree(root / "reference" / "price_books")
        return Bench(Workshop.open(Home(root)))

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium; one at a time, for Playwright knows no second in a process."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed; apt-get install chromium runs these")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def bench(tmp_path: Path, make_bench: Callable[[Path], Bench]) -> Bench:
    """A new home as `mission init` writes it, without prices and with an empty lake."""
    return make_bench(tmp_path)
