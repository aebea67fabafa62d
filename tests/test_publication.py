"""What leaves the house: finance note, publication, ledger entries, credit notes, and the list of issued invoices that comes back."""

import csv
import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import Bench, event
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from test_corrections import APRIL, FINANCE, KEYS, MAY, build, close, invoice, lock, made, price, requests  # noqa: F401  # `made` is a fixture

from mc_pipelines.cli import main
from mc_pipelines.closing.handover import credit_notes, files, row
from mc_pipelines.closing.issued import Difference, differences
from mc_pipelines.closing.ledger import Accounts, bookings
from mc_pipelines.closing.publication import publish
from mc_pipelines.closing.states import PUBLICATION, fold
from mc_pipelines.definitions import build_defs
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.home import Home
from mc_pipelines.invoicing.documents import NUMBERS, TEXT
from mc_pipelines.journaling import journal_of
from mc_pipelines.runner import Workshop

ACCOUNTS = Accounts(receivable="1200", revenue="4000", tax="2200", prepaid="2400", meters={"tokens": "4010"}, taxes={"low": "2207"})
DECLARED = 'receivable: "1200"\nrevenue: "4000"\ntax: "2200"\nprepaid: "2400"\nmeters: {api_requests: "=4010"}\n'


def line(meter: str | None, net: str, **more: Any) -> dict[str, Any]:
    """A line with every field of a preview's; those that are not named are empty."""
    empty = dict.fromkeys((*TEXT, *NUMBERS)) | {"tier": None, "dimensions": {}, "days": [30, 30]}
    return empty | {"meter": meter, "charge": meter or "fee", "net": net, **more}


def document(**changes: Any) -> dict[str, Any]:
    """100 for tokens, 20 for requests, a fee of 5; 19 % on 120 and 7 % on 5 (0.35); 30 of 148.15 are prepaid."""
    rated = {
        "tenant_id": "acme",
        "period": {"name": MAY},
        "currency": "EUR",
        "policy": "2026-1",
        "books": [{"price_book": "eur", "version": "1"}],
        "lines": [line("tokens", "100.00"), line("requests", "20.00"), line(None, "5.00")],
        "taxes": [
            {"tax": "vat", "percent": "19", "base": "120.00", "amount": "22.80"},
            {"tax": "low", "percent": "7", "base": "5.00", "amount": "0.35"},
        ],
        "corrections": [],
        "totals": {"net": "125.00", "total": "148.15", "corrections": "0.00", "credits_used": "-30.00", "payable": "118.15"},
    }
    return {"name": "Acme", "digest": "ab" * 32, "edition": 1, "rated": rated | changes}


def correction(net: str, tax: str, total: str) -> dict[str, Any]:
    return {
        "original_period": APRIL,
        "original_invoice": "cd" * 32,
        "event_count": 3,
        "digest": "ef" * 32,
        "net": net,
        "tax": tax,
        "total": total,
        "lines": [line("tokens", net, event_count=3, quantity="-4", unit_price="2", amount=net, tax_amount=tax)],
        "taxes": [{"tax": "vat", "percent": "19", "base": net, "amount": tax}],
    }


def test_an_invoice_is_booked_by_account_and_balances() -> None:
    assert bookings(document()["rated"], ACCOUNTS) == [
        ("1200", Decimal("118.15"), "invoice of 2026-05"),
        ("2400", Decimal("30.00"), "prepaid credit used"),
        ("4000", Decimal("-5.00"), "fees"),
        ("4000", Decimal("-20.00"), "requests"),
        ("4010", Decimal("-100.00"), "tokens"),
        ("2200", Decimal("-22.80"), "vat 19 %"),
        ("2207", Decimal("-0.35"), "low 7 %"),
    ]


def test_a_correction_is_booked_beside_the_months_own_lines() -> None:
    """8.00 and 1.52 of tax are taken off: 148.15 - 9.52 - 30.00 are to be paid."""
    totals = {"net": "125.00", "total": "148.15", "corrections": "-9.52", "credits_used": "-30.00", "payable": "108.63"}
    found = bookings(document(corrections=[correction("-8.00", "-1.52", "-9.52")], totals=totals)["rated"], ACCOUNTS)
    assert found[0] == ("1200", Decimal("108.63"), "invoice of 2026-05")
    assert found[-2:] == [("4010", Decimal("8.00"), "tokens of 2026-04"), ("2200", Decimal("1.52"), "vat 19 % of 2026-04")]
    assert sum(amount for _, amount, _ in found) == 0


def test_an_invoice_that_does_not_balance_is_not_booked() -> None:
    totals = {"net": "125.00", "total": "148.15", "corrections": "0.00", "credits_used": "0.00", "payable": "118.15"}
    with pytest.raises(MissionError, match="invoice of acme 2026-05: its bookings differ by"):
        bookings(document(totals=totals)["rated"], ACCOUNTS)


def test_the_same_documents_give_the_same_bytes_whatever_their_order() -> None:
    noted = document(
        tenant_id="beta",
        corrections=[correction("-8.00", "-1.52", "-9.52")],
        totals={"net": "125.00", "total": "148.15", "corrections": "-9.52", "credits_used": "-30.00", "payable": "108.63"},
    )
    one, other = files([document(), noted], ACCOUNTS, {}), files([noted, document()], ACCOUNTS, {})
    assert one == other
    assert sorted(one) == [
        *(f"credit-notes/beta-2026-04/credit-note.{kind}" for kind in ("csv", "json", "pdf")),
        "invoices.csv",
        "invoices.json",
        "ledger.csv",
    ]
    (note,) = credit_notes(noted, row(noted)["invoice"], {"cd" * 32: "2026-04-1"})
    assert (note["original_period"], note["original_invoice"], note["original_number"], note["total"], note["invoice"]) == (
        APRIL,
        "cd" * 32,
        "2026-04-1",
        "-9.52",
        row(noted)["invoice"],
    )
    assert credit_notes(document(corrections=[correction("8.00", "1.52", "9.52")]), "x", {}) == []


def test_an_invoice_has_the_same_key_everywhere_and_another_for_another() -> None:
    same, digest, month = row(document()), row({**document(), "digest": "ac" * 32}), row(document(period={"name": APRIL}))
    assert same["key"] == row(document())["key"]
    assert len({each["key"] for each in (same, digest, month)}) == 3
    assert same["invoice"] == f"2026-05-{same['key'][:16]}"


PUBLISHED = {
    "invoice": "1",
    "tenant_id": "acme",
    "currency": "EUR",
    "net": "5.00",
    "tax": "1.00",
    "corrections": "0",
    "credits_used": "0",
    "payable": "6",
}


@pytest.mark.parametrize(
    ("issued", "expected"),
    [
        ([PUBLISHED | {"net": Decimal("5.0")}], []),
        ([], [Difference("1", "missing")]),
        ([PUBLISHED, PUBLISHED], [Difference("1", "twice")]),
        ([PUBLISHED, PUBLISHED | {"invoice": "2"}], [Difference("2", "unknown")]),
        (
            [PUBLISHED | {"payable": "6.01", "currency": "USD"}],
            [Difference("1", "differs", "currency", "EUR", "USD"), Difference("1", "differs", "payable", "6", "6.01")],
        ),
    ],
)
def test_what_was_issued_is_compared_invoice_by_invoice(issued: list[dict[str, Any]], expected: list[Difference]) -> None:
    assert differences([PUBLISHED], issued) == expected


@pytest.fixture
def bench(made: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:  # noqa: F811
    """April locked, keys as files, accounts declared."""
    root = tmp_path / "home"
    shutil.copytree(made.root, root)
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)
    monkeypatch.setenv("MISSION_HOME", str(root))
    monkeypatch.setenv("MISSION_PERSON", "ops")
    for name, key in (KEYS | {"finn": FINANCE}).items():
        path = root / f"{name}.key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
    (root / "reference" / "accounts.yaml").write_text(DECLARED, encoding="utf-8")
    return Bench(Workshop.open(Home(root)))


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def noted(bench: Bench, month: str = APRIL) -> Result:
    return call("note", month, "--note", "as forecast", "--key", bench.home.root / "finn.key")


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def balance(rows: Iterable[dict[str, str]]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for each in rows:
        found[each["invoice"]] = found.get(each["invoice"], Fraction(0)) + Fraction(each["debit"] or 0) - Fraction(each["credit"] or 0)
    return found


def test_locked_invoices_are_published_once_after_a_finance_note(bench: Bench) -> None:
    done = call("publish", APRIL)
    assert (done.exit_code, "edition 1 has no finance note" in done.output) == (2, True)
    done = noted(bench)
    assert done.exit_code == 0, done.output
    # acme 150.00 and beta 50.00, with 20 % of tax
    assert "EUR  invoices 2  net 200.00  tax 40.00  total 240.00  payable 240.00" in done.output
    assert noted(bench).output == done.output
    done = call("publish", APRIL)
    assert done.exit_code == 0, done.output
    assert "2 invoice(s) of 2026-04 published by ops" in done.output
    assert call("publish", APRIL).output == done.output
    shown = json.loads(call("status", APRIL, "--json").stdout)
    assert {each["tenant"]: each["state"] for each in shown["tenants"]} == {"acme": "published", "beta": "published"}
    bundle = bench.home.evidence / shown["publications"][0]["bundle"]
    assert call("verify", bundle).exit_code == 0
    listed = json.loads((bundle / "data" / "invoices.json").read_bytes())["invoices"]
    assert [(each["tenant_id"], each["net"], each["tax"], each["payable"]) for each in listed] == [
        ("acme", "150.00", "30.00", "180.00"),
        ("beta", "50.00", "10.00", "60.00"),
    ]
    assert listed[0]["digest"] == invoice(bench, APRIL)["digest"]
    ledger = table((bundle / "data" / "ledger.csv").read_bytes())
    assert set(balance(ledger).values()) == {0}
    assert {each["account"] for each in ledger} == {"1200", "2200", "'=4010"}
    for told in ("finance note by finn on edition 1", "published by ops at 20", "published   2"):
        assert told in call("status", APRIL).output


def test_a_note_is_signed_by_finance_and_not_by_who_asked_for_the_edition(bench: Bench) -> None:
    done = call("note", APRIL, "--key", bench.home.root / "dana.key")
    assert (done.exit_code, "dana cannot sign a metering.finance_note" in done.output) == (2, True)
    people = bench.home.reference / "people.yaml"
    people.write_text(people.read_text().replace("{person: finn,", "{person: finn, logins: [ops],"), encoding="utf-8")
    done = noted(bench)
    assert (done.exit_code, "finn prepared edition 1 of 2026-04 and cannot note it" in done.output) == (2, True)


def test_a_request_is_signed_elsewhere_and_a_changed_one_is_refused(bench: Bench) -> None:
    request = Path(call("note", APRIL, "--request").output.split()[1])
    assert call("sign", request, "--key", bench.home.root / "finn.key").exit_code == 0
    signed = request.with_suffix(".signed.json")
    forged = signed.with_name("forged.json")
    envelope = json.loads(signed.read_bytes())
    envelope["payload"] = envelope["payload"][:-8] + "AAAA" + envelope["payload"][-4:]
    forged.write_text(json.dumps(envelope), encoding="utf-8")
    assert call("note", APRIL, "--signed", forged).exit_code == 2
    done = call("note", APRIL, "--signed", signed)
    assert (done.exit_code, "finn filed the finance note on 2026-04 edition 1" in done.output) == (0, True)


def test_tenants_are_published_one_after_the_other_and_never_twice(bench: Bench) -> None:
    assert noted(bench).exit_code == 0
    assert "1 invoice(s)" in call("publish", APRIL, "--tenant", "acme").output
    done = call("publish", APRIL, "--tenant", "acme", "--tenant", "beta")
    assert (done.exit_code, "acme was published by ops at 20" in done.output) == (2, True)
    assert "1 invoice(s)" in call("publish", APRIL).output
    done = call("publish", APRIL, "--tenant", "nobody")
    assert (done.exit_code, "nobody is not locked in 2026-04" in done.output) == (2, True)
    bundles = {each["bundle"] for each in json.loads(call("status", APRIL, "--json").stdout)["publications"]}
    assert len(bundles) == 2


def test_of_four_who_publish_at_once_one_does(bench: Bench) -> None:
    assert noted(bench).exit_code == 0
    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(lambda number: publish(bench.home, APRIL, None, f"ops {number}"), range(4)))
    assert len({entry.number for entry in entries}) == 1
    assert sum(entry.kind == PUBLICATION for entry in journal_of(bench.home).chain()) == 1


def published(root: str) -> None:
    os.environ["MISSION_CRASH_AT"] = "publish.bundle_built"
    publish(Home(Path(root)), APRIL, None, "killed")


def test_killed_before_its_entry_nothing_is_published_and_the_next_one_is_whole(bench: Bench) -> None:
    assert noted(bench).exit_code == 0
    process = multiprocessing.get_context("spawn").Process(target=published, args=(str(bench.home.root),))
    process.start()
    process.join()
    assert process.exitcode == -9
    assert fold(journal_of(bench.home).entries(), APRIL).publications == {}
    entry = publish(bench.home, APRIL, None, "ops")
    folder = bench.home.evidence / "finance" / "metering" / "publication" / APRIL
    assert [path.name for path in folder.iterdir()] == [Path(entry.body["bundle"]).name]
    assert verify(bench.home.evidence / entry.body["bundle"], known_keys(bench.home.keys)).ok


def test_a_damaged_bundle_is_not_published(bench: Bench) -> None:
    assert noted(bench).exit_code == 0
    bundle = bench.home.evidence / fold(journal_of(bench.home).entries(), APRIL).newest.bundle
    path = bundle / "data" / "invoices" / "beta" / "preview.csv"
    path.write_bytes(path.read_bytes().replace(b"50.00", b"49.00"))
    done = call("publish", APRIL)
    assert (done.exit_code, "nothing was published" in done.output) == (2, True)


def test_without_accounts_nothing_is_published(bench: Bench) -> None:
    assert noted(bench).exit_code == 0
    (bench.home.reference / "accounts.yaml").unlink()
    done = call("publish", APRIL)
    assert (done.exit_code, "accounts.yaml: missing. Declare receivable" in done.output) == (2, True)


def test_a_credit_is_handed_over_as_a_credit_note_and_booked(bench: Bench) -> None:
    """Ten voided requests of April: 5.00 and 1.00 of tax are credited by the invoice of May, of 0.50 and 0.10."""
    voids = [event(f"void {n}", f"{MAY}-02T10:00:00", f"{MAY}-20", kind="void", amends=f"acme {APRIL} {n}") for n in range(10)]
    bench.land([*requests(MAY, 1), *voids])
    build(bench, [f"{MAY}-10", f"{MAY}-20"], MAY)
    close(bench, MAY)
    lock(bench.home, MAY)
    assert noted(bench, MAY).exit_code == 0
    assert call("publish", MAY).exit_code == 0
    (shown,) = json.loads(call("status", MAY, "--json").stdout)["publications"]
    data = bench.home.evidence / shown["bundle"] / "data"
    note = json.loads((data / "credit-notes" / "acme-2026-04" / "credit-note.json").read_bytes())
    assert (note["total"], note["original_invoice"], note["event_count"]) == ("-6.00", invoice(bench, APRIL)["digest"], 10)
    assert (data / "credit-notes" / "acme-2026-04" / "credit-note.pdf").read_bytes().startswith(b"%PDF")
    ledger = [each for each in table((data / "ledger.csv").read_bytes()) if each["tenant"] == "acme"]
    assert set(balance(ledger).values()) == {0}
    assert [(each["account"], each["debit"], each["credit"]) for each in ledger] == [
        ("1200", "", "5.40"),
        ("'=4010", "", "0.50"),
        ("2200", "", "0.10"),
        ("'=4010", "5.00", ""),
        ("2200", "1.00", ""),
    ]


def test_the_list_of_issued_invoices_is_reconciled_and_remembered(bench: Bench, tmp_path: Path) -> None:
    done = call("issued", APRIL, tmp_path / "issued.csv")
    assert (done.exit_code, "nothing is published" in done.output) == (2, True)
    assert noted(bench).exit_code == 0
    entry = publish(bench.home, APRIL, None, "ops")
    listed = tmp_path / "issued.csv"
    data = (bench.home.evidence / entry.body["bundle"] / "data" / "invoices.csv").read_bytes()
    listed.write_bytes(data)
    done = call("issued", APRIL, listed)
    assert (done.exit_code, "2 published, 2 issued, 0 difference(s)" in done.output) == (0, True), (done.output, done.exception)
    assert call("issued", APRIL, listed).output == done.output
    listed.write_bytes(data.replace(b"180.00", b"180.01"))
    done = call("issued", APRIL, listed, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["differences"][0] | {"invoice": ""} == {
        "invoice": "", "what": "differs", "field": "payable", "published": "180", "issued": "180.01",
    }  # fmt: skip
    assert "issued: 2 of 2 invoice(s), 1 difference(s)" in call("status", APRIL).output
    listed.write_text("invoice,tenant_id\n1,acme\n", encoding="utf-8")
    done = call("issued", APRIL, listed)
    assert (done.exit_code, "refused by contract issued_invoices" in done.output) == (2, True)


def test_jobs_take_a_signed_note_and_publish_what_is_locked(bench: Bench) -> None:
    request = Path(call("note", APRIL, "--request").output.split()[1])
    assert call("sign", request, "--key", bench.home.root / "finn.key").exit_code == 0
    signed: dict[str, Any] = {"ops": {"note": {"config": {"sign_off": str(request.with_suffix(".signed.json"))}}}}
    assert build_defs(bench.home).resolve_job_def("note_close").execute_in_process(run_config=signed).success
    config: dict[str, Any] = {"ops": {"publish": {"config": {"month": APRIL}}}}
    assert (
        build_defs(bench.home).resolve_job_def("publish_close").execute_in_process(run_config=config, tags={"requested_by": "web"}).success
    )
    assert json.loads(call("status", APRIL, "--json").stdout)["publications"][0]["requested_by"] == "web"


def test_lint_names_accounts_of_meters_and_taxes_that_nobody_declares(bench: Bench) -> None:
    from mc_pipelines.lint import problems

    assert not [problem for problem in problems(bench.home) if "accounts.yaml" in problem]
    path = bench.home.reference / "accounts.yaml"
    path.write_text(DECLARED.replace("meters: {api_requests", "taxes: {vat: '1', gst: '2'}\nmeters: {api_request"), encoding="utf-8")
    found = [problem for problem in problems(bench.home) if "accounts.yaml" in problem]
    assert [problem.partition("accounts.yaml")[2] for problem in found] == [
        ":6: meters: 'api_request' is not declared; there are api_requests, fees, tokens.",
        ":5: taxes: 'gst' is not declared; there are vat.",
    ]
    path.write_text("receivable: ''\n", encoding="utf-8")
    assert any("accounts.yaml:1: receivable" in problem for problem in problems(bench.home))
