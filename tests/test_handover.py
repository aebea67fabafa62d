"""What is handed over, tried with odd names, older previews, revoked keys, and amounts of every kind."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench, event
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from test_corrections import APRIL, MAY, build, close, invoice, lock, made, requests  # noqa: F401  # `made` is a fixture
from test_publication import ACCOUNTS, balance, bench, call, correction, document, line, noted, table  # noqa: F401  # `bench` is a fixture

from mc_pipelines.closing.handover import files, row
from mc_pipelines.closing.issued import differences
from mc_pipelines.closing.ledger import bookings, ledger_csv
from mc_pipelines.closing.publication import publish
from mc_pipelines.closing.states import fold
from mc_pipelines.evidence.journal import Journal, revoke
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.verify import verify
from mc_pipelines.invoicing.batch_files import folder_of
from mc_pipelines.journaling import journal_of
from mc_pipelines.lint import problems as lint

ODD = '=HYPERLINK("http://x")|Ünï 東京 ../'
CENTS = st.integers(-(10**12), 10**12)


def cents(number: int) -> str:
    return format(Decimal(number).scaleb(-2), "f")


@st.composite
def invoices(draw: st.DrawFn) -> dict[str, Any]:
    """An invoice whose totals follow from its lines, taxes, corrections and credits; the sums are made in whole cents."""
    nets, taxes = draw(st.lists(CENTS, max_size=5)), draw(st.lists(CENTS, max_size=3))
    late = draw(st.lists(st.tuples(CENTS, CENTS), max_size=2))
    credit = -draw(st.integers(0, 10**12))
    gross, corrected = sum(nets) + sum(taxes), sum(net + tax for net, tax in late)
    meters = st.sampled_from([None, "tokens", "requests"])
    return document(
        lines=[line(draw(meters), cents(net)) for net in nets],
        taxes=[{"tax": draw(st.sampled_from(["vat", "low"])), "percent": "19", "base": "0.00", "amount": cents(tax)} for tax in taxes],
        corrections=[correction(cents(net), cents(tax), cents(net + tax)) for net, tax in late],
        totals={
            "net": cents(sum(nets)), "total": cents(gross), "corrections": cents(corrected), "credits_used": cents(credit),
            "payable": cents(gross + corrected + credit),
        },
    )  # fmt: skip


@given(invoices())
@settings(max_examples=100, deadline=None)
def test_every_invoice_balances(found: dict[str, Any]) -> None:
    assert sum(amount for _, amount, _ in bookings(found["rated"], ACCOUNTS)) == 0
    assert set(balance(table(ledger_csv([("1", found["rated"])], ACCOUNTS))).values()) <= {0}


def test_a_preview_that_was_locked_before_there_were_corrections_is_handed_over() -> None:
    old = document()
    del old["rated"]["corrections"], old["rated"]["totals"]["corrections"]
    assert (row(old)["corrections"], row(old)["payable"]) == ("0.00", "118.15")
    assert table(files([old], ACCOUNTS, {})["ledger.csv"]) == table(files([document()], ACCOUNTS, {})["ledger.csv"])


def test_an_odd_name_is_neither_a_formula_nor_a_path_and_is_issued_as_our_own_list_writes_it() -> None:
    totals = {"net": "0.00", "total": "0.00", "corrections": "-9.52", "credits_used": "0.00", "payable": "-9.52"}
    odd = document(tenant_id=ODD, lines=[], taxes=[], corrections=[correction("-8.00", "-1.52", "-9.52")], totals=totals)
    found = files([odd], ACCOUNTS, {})
    folder = f"credit-notes/{folder_of(ODD)}-2026-04"
    assert folder_of(ODD).startswith("_")
    assert {path for path in found if path.startswith("credit")} == {f"{folder}/credit-note.{kind}" for kind in ("csv", "json", "pdf")}
    for name, column in (("ledger.csv", "tenant"), ("invoices.csv", "tenant_id"), (f"{folder}/credit-note.csv", "tenant_id")):
        assert {each[column] for each in table(found[name])} == {f"'{ODD}"}
    (booked, *_) = table(found["ledger.csv"])
    assert (booked["account"], booked["debit"], booked["credit"]) == ("1200", "", "9.52")
    assert table(found[f"{folder}/credit-note.csv"])[0]["net"] == "-8.00"
    listed = list(csv.DictReader(io.StringIO(found["invoices.csv"].decode(), newline="")))
    assert differences([row(odd)], listed) == []
    assert [each.field for each in differences([row(odd)], [listed[0] | {"tenant_id": "'other"}])] == ["tenant_id"]


def test_lint_names_accounts_of_meters_and_taxes_that_there_are_not(bench: Bench) -> None:  # noqa: F811
    path = bench.home.reference / "accounts.yaml"
    assert [each for each in lint(bench.home) if each.startswith(str(path))] == []
    text = path.read_text(encoding="utf-8").replace("api_requests", "api_request")
    path.write_text(f'{text}taxes: {{vat: "2201", gst: "2202"}}\n', encoding="utf-8")
    first, second = [each for each in lint(bench.home) if each.startswith(str(path))]
    assert first.startswith(f"{path}:5: meters: 'api_request' is not declared; there are ")
    assert second == f"{path}:6: taxes: 'gst' is not declared; there are vat."
    path.write_text('receivable: ""\nrevenue: "1"\ntax: "1"\nprepaid: 2400\nfees: "1"\n', encoding="utf-8")
    assert [each.split(": ")[0] for each in lint(bench.home)] == [f"{path}:{number}" for number in (1, 4, 5)]


def test_a_credit_note_names_the_number_of_the_invoice_that_it_corrects(bench: Bench) -> None:  # noqa: F811
    """Ten voided requests of a published April, 0.50 each with 20 % of tax, are credited by May."""
    assert noted(bench).exit_code == 0
    april = publish(bench.home, APRIL, None, "ops")
    (first, _) = json.loads((bench.home.evidence / april.body["bundle"] / "data" / "invoices.json").read_bytes())["invoices"]
    voids = [event(f"void {n}", f"{MAY}-02T10:00:00", f"{MAY}-20", kind="void", amends=f"acme {APRIL} {n}") for n in range(10)]
    bench.land([*requests(MAY, 1), *voids])
    build(bench, [f"{MAY}-10", f"{MAY}-20"], MAY)
    close(bench, MAY)
    lock(bench.home, MAY)
    assert noted(bench, MAY).exit_code == 0
    bundle = bench.home.evidence / publish(bench.home, MAY, None, "ops").body["bundle"]
    data = bundle / "data" / "credit-notes" / "acme-2026-04"
    note = json.loads((data / "credit-note.json").read_bytes())
    assert (note["original_number"], note["original_invoice"], note["total"]) == (
        first["invoice"],
        invoice(bench, APRIL)["digest"],
        "-6.00",
    )
    (own,) = table((data / "credit-note.csv").read_bytes())
    assert (own["original_number"], own["meter"], own["quantity"], own["net"], own["events"]) == (
        first["invoice"], "api_requests", "-10", "-5.00", "10",
    )  # fmt: skip
    assert verify(bundle, known_keys(bench.home.keys)).ok
    done = call("trace", "metering_variance", "--bundle", bundle)
    assert (done.exit_code, "the bundle is not that of an attempt" in done.output) == (2, True)


def test_what_a_revoked_key_published_is_published_again_with_another_number(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811  # fmt: skip
    assert noted(bench).exit_code == 0
    first = publish(bench.home, APRIL, None, "thief")
    old = journal_of(bench.home)
    assert old.signer is not None
    key = tmp_path / "new.key"
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    monkeypatch.setenv("MISSION_SIGNING_KEY", str(key))
    revoke(journal_of(bench.home), old.signer.keyid, first.number - 1, "stolen")
    assert fold(journal_of(bench.home).entries(), APRIL).publications == {}
    again = publish(bench.home, APRIL, None, "ops")
    assert [Path(each.body["bundle"]).name[:3] for each in (first, again)] == ["001", "002"]
    assert first.body["digest"] == again.body["digest"]
    keys = known_keys(bench.home.keys)
    for entry, ok in ((first, False), (again, True)):
        verdict = verify(bench.home.evidence / entry.body["bundle"], keys, journal=Journal(bench.home.journal, trusted=keys))
        assert verdict.ok == ok, verdict.reasons
