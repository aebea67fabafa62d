"""A finance note allows what it is about and nothing else: the tenants that it names, with the figures as they were locked."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Bench
from test_corrections import APRIL, MAY, build, close, lock, made, requests  # noqa: F401  # `made` is a fixture
from test_publication import bench, call, noted  # noqa: F401  # `bench` is a fixture


def asked(month: str = APRIL) -> Path:
    return Path(call("note", month, "--request").output.split()[1])


def signed(bench: Bench, request: Path) -> Path:  # noqa: F811
    done = call("sign", request, "--key", bench.home.root / "finn.key")
    assert done.exit_code == 0, done.output
    return request.with_suffix(".signed.json")


def test_a_note_says_whom_it_is_about_and_what_their_invoices_add_up_to(bench: Bench) -> None:  # noqa: F811
    """Requests at 0.50 with 20 % of tax: 300 of acme's are 150.00 and 30.00, 100 of beta's are 50.00 and 10.00."""
    said = json.loads(asked().read_bytes())["statement"]
    (edition,) = said["editions"]
    assert {name: edition[name] for name in ("edition", "tenants", "held", "not_passed")} == {
        "edition": 1,
        "tenants": ["acme", "beta"],
        "held": [],
        "not_passed": [],
    }
    (euro,) = said["figures"]
    assert euro == {
        "currency": "EUR", "invoices": 2, "net": "200.00", "tax": "40.00", "total": "240.00", "corrected": "0.00", "credits_used": "0.00", "payable": "240.00",
    }  # fmt: skip


def test_who_is_locked_after_the_note_needs_another(bench: Bench) -> None:  # noqa: F811
    bench.land([*requests(MAY, 10), *requests(MAY, 20, "beta")])
    build(bench, [f"{MAY}-10"], MAY)
    close(bench, MAY)
    lock(bench.home, MAY, ["acme"])
    assert "invoices 1  net 5.00  tax 1.00" in noted(bench, MAY).output
    lock(bench.home, MAY, ["beta"])
    done = call("publish", MAY)
    assert (done.exit_code, "edition 1 has no finance note on beta" in done.output) == (2, True)
    assert "1 invoice(s) of 2026-05 published" in call("publish", MAY, "--tenant", "acme").output
    assert "invoices 1  net 10.00  tax 2.00" in noted(bench, MAY).output
    assert "1 invoice(s) of 2026-05 published" in call("publish", MAY).output


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("figures", [], "states something else than what is locked"),
        ("editions", 3, "no finance note as `mission note MONTH` asks for it"),
        ("editions", [{"edition": 1, "digest": "ab", "tenants": ["acme"], "held": [], "not_passed": []}], "states something else"),
        ("editions", [{"edition": 1, "digest": "ab", "tenants": ["nobody"]}], "nobody is not locked in 2026-04"),
    ],
)
def test_a_note_on_something_else_than_what_is_locked_is_refused(bench: Bench, name: str, value: Any, told: str) -> None:  # noqa: F811
    request = asked()
    said = json.loads(request.read_bytes())
    said["statement"][name] = value
    request.write_text(json.dumps(said), encoding="utf-8")
    done = call("note", APRIL, "--signed", signed(bench, request))
    assert (done.exit_code, told in done.output) == (2, True), done.output
    assert call("publish", APRIL).exit_code == 2
