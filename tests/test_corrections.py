"""Late events of locked months: real closes and locks of small months, and what the next invoice says of them."""

import json
import shutil
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, Row, event
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mc_pipelines.attempts import Attempt
from mc_pipelines.close import attempt
from mc_pipelines.closing import acts
from mc_pipelines.closing.states import fold
from mc_pipelines.evidence.people import read_people
from mc_pipelines.evidence.signoff import signed
from mc_pipelines.home import Home
from mc_pipelines.journaling import journal_of
from mc_pipelines.runner import Workshop

MARCH, APRIL, MAY = "2026-03", "2026-04", "2026-05"
TENANTS = """tenants:
  - {tenant_id: acme, name: Acme, zone: UTC, currency: EUR, plan: standard, grace_days: 2}
  - {tenant_id: beta, name: Beta, zone: UTC, currency: EUR, plan: standard, grace_days: 2}
"""
METERS = """meters:
  - {meter: api_requests, type: http.request, aggregation: count, unit: request}
  - {meter: tokens, type: tokens.used, aggregation: sum, value: context_tokens, unit: token}
"""
BOOK = """price_book: example
version: "1"
effective: 2025-12-31T00:00:00Z
currency: EUR
taxes: {{vat: "20"}}
plans:
  standard:
    tax: vat
    charges:
      - id: requests
        model: graduated
        meter: api_requests
        tiers: [{{up_to: "400", price: "{price}"}}, {{price: "0.20"}}]
"""
CHECKS = Path(__file__).parent.parent / "checks" / "metering.yaml"
LEFT_OUT = (
    "metering.landing_summary",
    "metering.variance",
    "metering.variance_meters",
    "metering.variance_money",
    "metering.variance_unreferenced",
)
KEYS = {name: Ed25519PrivateKey.generate() for name in ("dana", "erin")}
FINANCE = Ed25519PrivateKey.generate()


def requests(month: str, count: int, tenant: str = "acme", *, first: int = 0, landed: str | None = None) -> list[Row]:
    """Requests on the tenth of a month; they land that day unless `landed` says otherwise."""
    return [event(f"{tenant} {month} {number}", f"{month}-10T10:00:00", landed, tenant=tenant) for number in range(first, first + count)]


def price(home: Home, value: str) -> None:
    (home.reference / "price_books" / "example.yaml").write_text(BOOK.format(price=value), encoding="utf-8")


def close(bench: Bench, month: str) -> Attempt:
    return attempt(bench.home, month, requested_by="ops")


def build(bench: Bench, days: Sequence[str], *months: str) -> None:
    bench.build(days, [f"{month}-01" for month in months])


def approved(home: Home, month: str, tenants: Sequence[str] | None = None) -> None:
    """Two people approve all that nothing holds, or some of it."""
    journal, people = journal_of(home), read_people(home)
    request = json.loads(acts.approval_request(fold(journal.entries(), month), tenants, {}, "ops"))
    for key in KEYS.values():
        acts.approve(journal, people, signed(request, key, people), "test")


def lock(home: Home, month: str, tenants: Sequence[str] | None = None) -> None:
    """Two people approve it, and it is locked."""
    approved(home, month, tenants)
    acts.lock(journal_of(home), month, tenants, "ops")


def people(bench: Bench) -> None:
    """Two people who approve, and finn of finance."""
    lines = {
        name: key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        for name, key in (KEYS | {"finn": FINANCE}).items()
    }
    role = {"finn": "finance"}
    declared = [
        f'  - {{person: {name}, name: {name}, roles: [{role.get(name, "approver")}], key: "{line}"}}\n' for name, line in lines.items()
    ]
    bench.declare("people", "people:\n" + "".join(declared))


def checks_without(home: Home, *tables: str) -> None:
    """The log and the absent landing days are not what is tried here: their gates are left out of a home, and those of `tables`."""
    kept, skipping = [], False
    for text in CHECKS.read_text(encoding="utf-8").splitlines(keepends=True):
        if not text.startswith((" ", "#")):
            skipping = text.strip().rstrip(":") in (*LEFT_OUT, *tables)
        if not skipping:
            kept.append(text)
    (home.root / "checks").mkdir()
    (home.root / "checks" / "metering.yaml").write_text("".join(kept), encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_bench: Callable[[Path], Bench]) -> Home:
    """April is locked: acme with 300 requests, beta with 100; the price is 0.50 up to 400 requests, then 0.20; VAT 20 %."""
    bench = make_bench(tmp_path_factory.mktemp("made"))
    home = bench.home
    bench.declare("tenants", TENANTS)
    bench.declare("meters", METERS)
    (home.reference / "price_books").mkdir(exist_ok=True)
    price(home, "0.50")
    people(bench)
    checks_without(home)
    bench.land([*requests(APRIL, 300), *requests(APRIL, 100, "beta")], days=[f"{APRIL}-10"])
    build(bench, [f"{APRIL}-10"], APRIL)
    close(bench, APRIL)
    lock(home, APRIL)
    return home


@pytest.fixture
def bench(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shutil.copytree(made.root, tmp_path / "home")
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    return Bench(Workshop.open(Home(tmp_path / "home")))


def invoice(bench: Bench, month: str, tenant: str = "acme") -> dict[str, Any]:
    """What the newest edition of a month would bill a tenant."""
    journal = journal_of(bench.home)
    newest = fold(journal.entries(), month).newest
    found: dict[str, Any] = json.loads((bench.home.evidence / newest.bundle / "data" / "invoices" / tenant / "preview.json").read_bytes())
    return found


def test_late_usage_is_a_line_of_the_next_invoice_that_names_what_it_corrects(bench: Bench) -> None:
    """150 late requests on top of 300: 100 more at 0.50 and 50 at 0.20 are 60.00, and 12.00 VAT."""
    april = invoice(bench, APRIL)
    assert april["rated"]["totals"]["net"] == "150.00"
    bench.land([*requests(MAY, 10), *requests(APRIL, 150, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    assert close(bench, MAY).verdict == "passed"
    may = invoice(bench, MAY)["rated"]
    (correction,) = may["corrections"]
    assert {name: correction[name] for name in ("original_period", "original_invoice", "event_count", "net", "tax", "total")} == {
        "original_period": APRIL,
        "original_invoice": april["digest"],
        "event_count": 150,
        "net": "60.00",
        "tax": "12.00",
        "total": "72.00",
    }
    assert [(line["tier"], line["quantity"], line["net"], line["tax_amount"], line["event_count"]) for line in correction["lines"]] == [
        (["0", "400"], "100", "50.00", "10.00", 150),
        (["400", None], "50", "10.00", "2.00", 150),
    ]
    # May itself: 10 requests at 0.50
    assert may["totals"] == {
        "subtotal": "5.00", "discount": "0.00", "net": "5.00", "total": "6.00", "corrections": "72.00", "credits_used": "0.00", "payable": "78.00",
    }  # fmt: skip


def test_a_correction_is_billed_once_and_what_comes_later_still_is_a_difference(bench: Bench) -> None:
    """100 late in May (50.00), 50 late in June: 450 requests are 210.00, of which 150.00 and 50.00 are billed."""
    bench.land([*requests(MAY, 1), *requests(APRIL, 100, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    assert invoice(bench, MAY)["rated"]["totals"]["corrections"] == "60.00"
    lock(bench.home, MAY)
    bench.land([*requests("2026-06", 1), *requests(APRIL, 50, first=400, landed="2026-06-10")])
    build(bench, ["2026-06-10"], "2026-06")
    close(bench, "2026-06")
    (correction,) = invoice(bench, "2026-06")["rated"]["corrections"]
    assert (correction["net"], correction["tax"], correction["event_count"]) == ("10.00", "2.00", 150)
    assert [(line["tier"], line["net"]) for line in correction["lines"]] == [(["400", None], "10.00")]


def test_an_amendment_after_the_lock_is_a_credit_line(bench: Bench) -> None:
    """Ten events voided: 5.00 and their 1.00 of VAT are taken off; May itself is one request, 0.50 and 0.10."""
    voids = [
        event(f"void {number}", f"{MAY}-02T10:00:00", f"{MAY}-20", kind="void", amends=f"acme {APRIL} {number}") for number in range(10)
    ]
    bench.land([*requests(MAY, 1), *voids])
    build(bench, [f"{MAY}-10", f"{MAY}-20"], MAY)
    assert close(bench, MAY).verdict == "passed"
    rated = invoice(bench, MAY)["rated"]
    (correction,) = rated["corrections"]
    assert (correction["event_count"], correction["total"]) == (10, "-6.00")
    assert [(line["quantity"], line["net"]) for line in correction["lines"]] == [("-10", "-5.00")]
    assert rated["totals"]["payable"] == "-5.40"
    assert bench.rows(
        "SELECT tenant_id, total, corrections, payable FROM metering.invoices WHERE period = '2026-05-01' ORDER BY tenant_id",
        "metering.invoices",
    ) == [("acme", Decimal("0.60"), Decimal("-6"), Decimal("-5.40")), ("beta", Decimal(0), Decimal(0), Decimal(0))]


def test_prices_of_a_locked_month_are_those_that_it_was_locked_with(bench: Bench) -> None:
    price(bench.home, "9.00")
    bench.land([*requests(MAY, 1), *requests(APRIL, 10, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    rated = invoice(bench, MAY)["rated"]
    assert (rated["totals"]["net"], rated["corrections"][0]["net"]) == ("9.00", "5.00")


def test_meters_and_zones_of_a_locked_month_are_those_that_it_was_locked_with(bench: Bench) -> None:
    """A meter that counts only some requests from now on, and a tenant that moves, change no locked month."""
    bench.declare("meters", METERS.replace("type: http.request,", "type: http.request, filter: {status: ['200']},"))
    bench.declare("tenants", TENANTS.replace("zone: UTC", "zone: Pacific/Apia"))
    bench.land([*requests(APRIL, 10, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    rated = invoice(bench, MAY)["rated"]
    assert (rated["totals"]["total"], rated["totals"]["corrections"]) == ("0.00", "6.00")


def test_an_event_accepted_after_the_lock_is_late_whenever_it_landed(bench: Bench) -> None:
    """Rows that a contract refused in April and that are accepted now: they landed in time, but the locked close did not have them."""
    bench.land([*requests(APRIL, 320), *requests(APRIL, 100, "beta")])
    bench.land(requests(MAY, 1))
    build(bench, [f"{APRIL}-10", f"{MAY}-10"], MAY)
    close(bench, MAY)
    (correction,) = invoice(bench, MAY)["rated"]["corrections"]
    assert (correction["event_count"], correction["net"]) == (20, "10.00")


def test_copies_of_counted_events_are_not_late(bench: Bench) -> None:
    bench.land([*requests(MAY, 1), *requests(APRIL, 50, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    assert invoice(bench, MAY)["rated"]["corrections"] == []


def test_a_bug_fix_after_the_lock_is_not_billed_but_holds_the_tenant(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rating rounds otherwise from now on: the locked lines come out otherwise, so acme is held; beta, without late events, is not."""
    from mc_pipelines.rating import charges, money

    bench.land([*requests(MAY, 1), *requests(MAY, 1, "beta"), *requests(APRIL, 10, first=300, landed=f"{MAY}-10")])
    monkeypatch.setattr(charges, "rounded", lambda amount, unit, per=1: money.rounded(amount, unit, per) + unit)
    build(bench, [f"{MAY}-10"], MAY)
    done = close(bench, MAY)
    assert done.verdict == "failed"
    newest = fold(journal_of(bench.home).entries(), MAY).newest
    assert newest.holds.held == {"acme": ("invoice_rerate_drift",)}
    assert newest.holds.green == ("beta",)
    assert invoice(bench, MAY)["rated"]["corrections"] == []
    ((status, lines, problem),) = bench.rows("SELECT status, drifted, problems FROM metering.corrected", "metering.corrected")
    assert (status, lines, "1 line(s) differ when the locked inputs are rated again" in problem) == ("drifted", 1, True)


def test_what_has_no_price_in_a_locked_month_holds_the_tenant(bench: Bench) -> None:
    bench.land([*requests(MAY, 1), event("bytes", f"{APRIL}-10T10:00:00", f"{MAY}-10", type="tokens.used", context_tokens=5)])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    ((tenant, status, events, problems),) = bench.rows(
        "SELECT tenant_id, status, events, problems FROM metering.corrected", "metering.corrected"
    )
    assert (tenant, status, events) == ("acme", "unrated", 1)
    assert problems.startswith("meter tokens: no charge prices 5 used from 2026-04-01T00:00:00Z to 2026-05-01T00:00:00Z.")
    newest = fold(journal_of(bench.home).entries(), MAY).newest
    assert newest.holds.held == {"acme": ("invoice_corrections_rated",)}


@pytest.mark.parametrize(("months", "status", "net"), [(1, "corrected", "5.00"), (0, "too_old", None)])
def test_beyond_the_lookback_late_usage_is_reported_and_not_billed(bench: Bench, months: int, status: str, net: str | None) -> None:
    bench.declare("corrections", f"max_lookback_months: {months}\n")
    bench.land([*requests(MAY, 1), *requests(APRIL, 10, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    done = close(bench, MAY)
    assert done.verdict == "passed"
    assert [each["net"] for each in invoice(bench, MAY)["rated"]["corrections"]] == ([net] if net else [])
    assert bench.rows("SELECT status, events FROM metering.corrected", "metering.corrected") == [(status, 10)]
    warned = next(each for each in done.results if each.gate == "invoice_late_beyond_lookback")
    assert warned.status == ("passed" if net else "failed")


def test_a_month_is_not_locked_on_corrections_that_another_lock_has_overtaken(bench: Bench) -> None:
    """May and June are closed before either is locked; once May is, June must be closed again."""
    bench.land([*requests(MAY, 1), *requests(APRIL, 10, first=300, landed=f"{MAY}-10"), *requests("2026-06", 1, landed="2026-06-10")])
    build(bench, [f"{MAY}-10", "2026-06-10"], MAY, "2026-06")
    close(bench, MAY)
    close(bench, "2026-06")
    # Both bill what is late for April, as neither is locked.
    assert [invoice(bench, month)["rated"]["totals"]["corrections"] for month in (MAY, "2026-06")] == ["6.00", "6.00"]
    lock(bench.home, MAY)
    with pytest.raises(Exception, match=r"2026-05 of acme was locked .* after edition 1 of 2026-06 was made"):
        lock(bench.home, "2026-06")
    build(bench, [], "2026-06")
    assert close(bench, "2026-06").fresh
    assert invoice(bench, "2026-06")["rated"]["corrections"] == []
    lock(bench.home, "2026-06")


def test_what_is_late_for_a_month_that_is_not_locked_waits_for_its_close(bench: Bench) -> None:
    bench.land([*requests(MAY, 1), *requests(MARCH, 4, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    assert invoice(bench, MAY)["rated"]["corrections"] == []


def test_a_close_with_corrections_is_reproduced_from_its_bundle(bench: Bench) -> None:
    from mc_pipelines.evidence.record import Recorded, named_predicate
    from mc_pipelines.evidence.reproduce import reproduce

    bench.land([*requests(MAY, 10), *requests(APRIL, 150, first=300, landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    done = close(bench, MAY)
    entry = journal_of(bench.home).entries()[-1]
    found = reproduce(bench.home, done.bundle, Recorded.read(named_predicate(bench.home, entry)))
    assert (found.differing, found.changed) == ([], [])


def test_usage_of_a_tenant_that_was_declared_after_the_lock_is_not_dropped_in_silence(bench: Bench) -> None:
    bench.declare("tenants", TENANTS + "  - {tenant_id: gamma, name: Gamma, zone: UTC, currency: EUR, plan: standard, grace_days: 2}\n")
    bench.land([*requests(MAY, 1), *requests(APRIL, 3, "gamma", landed=f"{MAY}-10")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    query = "SELECT tenant_id, status, events, problems FROM metering.corrected"
    ((tenant, status, events, problem),) = bench.rows(query, "metering.corrected")
    assert (tenant, status, events, problem[:35]) == ("gamma", "unrated", 3, "declared after 2026-04 was locked, ")
    assert fold(journal_of(bench.home).entries(), MAY).newest.holds.held == {"gamma": ("invoice_corrections_rated",)}


def test_what_was_billed_as_a_correction_of_nothing_is_credited_once_it_is_gone() -> None:
    """A month without an invoice was corrected by 10.00; its late event was voided later, and the month has no invoice again."""
    from datetime import date

    from mc_pipelines.corrections.corrected import NO_LINES, SCHEMA, _judged
    from mc_pipelines.corrections.differences import Standing, difference
    from mc_pipelines.corrections.late import Late
    from mc_pipelines.corrections.recount import NOTHING, Recounted

    line = {"kind": "usage", "meter": "sales", "quantity": "1", "allowance_used": "0", "amount": "10.00", "net": "10.00"}
    rated = {"lines": [line | {"line_discount": "0.00", "invoice_discount": "0.00", "tax_amount": None}], "taxes": []}
    billed = difference(rated, Standing.of([NO_LINES]), "EUR")
    assert billed is not None
    late = Late((("edge", "1"), ("edge", "1 void")), {"sales": 2})
    found = _judged(date(2026, 6, 1), date(2026, 4, 1), "", Recounted("acme", late, NOTHING, NOTHING, NOTHING), [billed], "EUR")
    row = dict(zip(SCHEMA, found, strict=True))
    assert (row["status"], json.loads(row["correction"])["total"]) == ("corrected", "-10.00")
    again = _judged(date(2026, 6, 1), date(2026, 4, 1), "", Recounted("acme", late, NOTHING, NOTHING, NOTHING), [], "EUR")
    assert dict(zip(SCHEMA, again, strict=True))["status"] == "unchanged"
