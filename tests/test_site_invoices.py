"""The pages of invoice previews and of a draft, against invented documents: every figure must equal the JSON at the path it names."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_site import NAMES, ODD_NAMES, Page, board, build, leaves, report

from mc_pipelines.site.build import replace, what_if_page

CURRENCIES = ("EUR", "JPY", "USD")
PREVIEW = {"preview.pdf": b"%PDF-", "preview.csv": b"tenant\r\n", "preview.json": b"{}"}


def previews() -> dict[str, bytes]:
    """The files of every tenant of `batch()`."""
    return {f"{row['folder']}/{name}": data for row in batch()["invoices"] for name, data in PREVIEW.items()}


def batch() -> dict[str, Any]:
    """A month of 38 previews in three currencies, two blocked tenants, five movers and an earlier batch."""
    invoices = [
        {
            "tenant_id": f"tenant-{index:02d}",
            "name": name,
            "plan": "growth",
            "currency": CURRENCIES[index % 3],
            "lines": index,
            **dict.fromkeys(("net", "total", "corrected", "credits_used", "payable", "tax"), f"{1000 * index + 10}.50"),
            "charges": {"fee": "10.50"},
            "digest": "ab" * 32,
            "folder": f"tenant-{index:02d}",
            "before": None if index % 4 else "1.00",
            "difference": None if index % 4 else f"-{index}.00",
        }
        for index, name in enumerate(NAMES[:38])
    ]
    return {
        "period": "2026-04",
        "as_of": "2026-05-03T06:00:00.000000Z",
        "digest": "cd" * 32,
        "previous": {"edition": 3, "digest": "ef" * 32},
        "gone": ["tenant-99"],
        "not_passed": ["metering_variance_money"],
        "waived": [],
        "totals": [
            {
                "currency": each,
                "invoices": 12,
                **dict.fromkeys(("net", "tax", "total", "corrected", "credits_used", "payable"), "123456789012.34"),
            }
            for each in CURRENCIES
        ],
        "plans": [
            {
                "currency": each,
                "plan": plan,
                "invoices": 4,
                **dict.fromkeys(("net", "total", "corrected", "credits_used", "payable"), "17.00"),
            }
            for each in CURRENCIES
            for plan in ("growth", "starter")
        ],
        "meters": [
            {"currency": each, "meter": meter, "kind": kind, "invoices": 4, "net": "-5.25"}
            for each in CURRENCIES[:2]
            for meter, kind in (("", "flat"), ("", "minimum"), ("api_requests", "usage"))
        ],
        "movers": [
            {"tenant_id": f"tenant-{index:02d}", "name": NAMES[index], "plan": "growth", "currency": "EUR", "status": status}
            | {
                "before": "10",
                "before_currency": "JPY" if status == "currency_changed" else None,
                "now": "40",
                "change": None if status == "currency_changed" else "30",
                "ratio": "3",
            }
            for index, status in enumerate(("compared", "gone", "from_zero", "currency_changed", "compared"))
        ],
        "late": [
            {
                "tenant_id": f"tenant-{index:02d}",
                "name": NAMES[index],
                "original_period": "2026-02",
                "original_invoice": "ab" * 32,
                "status": status,
            }
            | {"events": 1200 + index, "drifted": 0, "currency": "EUR", "problems": "" if index < 2 else "meter <b>: no charge prices 5"}
            | dict.fromkeys(("net", "tax", "total"), "-12.50" if index == 0 else None)
            for index, status in enumerate(("corrected", "unchanged", "drifted", "unrated", "too_old"))
        ],
        "invoices": invoices,
        "blocked": [
            {"tenant_id": f"blocked-{index}", "name": name, "plan": "<b>", "currency": "EUR", "problems": ["meter x: no charge", "another"]}
            for index, name in enumerate(ODD_NAMES[:2])
        ],
    }


def what_if() -> dict[str, Any]:
    """A draft that raises one meter; one tenant cannot be rated under it."""
    sums = {"before": "100.00", "after": "130.00", "difference": "30.00", "ratio": "0.3"}
    rows: list[dict[str, Any]] = [
        {"tenant_id": f"tenant-{index:02d}", "name": name, "plan": "growth", "difference": f"{index}.00", "ratio": "0.1"}
        | {name: {"net": "10.00", "tax": "1.00", "total": "11.00"} for name in ("before", "after")}
        | {"problems_before": [], "problems_after": []}
        for index, name in enumerate(NAMES)
    ]
    rows[7] |= {"after": None, "difference": None, "ratio": None, "problems_after": ["meter <x>: no charge prices 5"]}
    return {
        "what_if": True,
        "period": "2026-04",
        "draft": {"file": "a<b>.yaml", "sha256": "12" * 32, "price_book": "eur", "version": "2027 <i>"},
        "instead_of": ["2026-1"],
        "currency": "EUR",
        "total": {"tenants": 39, **sums},
        "meters": [{"meter": "api_requests", "kind": "usage", **sums}, {"meter": "", "kind": "flat", **sums}],
        "tenants": rows,
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build(folder, board(), report(), batch(), previews())
    return folder


def test_every_figure_equals_the_json_and_no_sum_is_missing(site: Path) -> None:
    figures = Page(site / "invoices/2026-04.html").figures
    known = {
        path: "" if value is None else str(value) for path, _, value in leaves(json.loads((site / "invoices/2026-04.json").read_bytes()))
    }
    assert figures == {path: known[path] for path in figures}
    shown = ("net", "tax", "total", "corrected", "credits_used", "payable")
    expected = {f"totals.{place}.{name}" for place in range(3) for name in shown} | {f"plans.{place}.net" for place in range(6)}
    expected |= {f"meters.{place}.net" for place in range(6)} | {f"invoices.{place}.payable" for place in range(38)}
    expected |= {f"invoices.{place}.{name}" for place in range(38) for name in ("net", "tax", "corrected", "credits_used")}
    expected |= {f"late.{place}.events" for place in range(5)} | {"late.0.net", "late.0.tax", "late.0.total"}
    assert expected <= figures.keys()


def test_links_lead_to_the_previews_and_back(site: Path) -> None:
    page = Page(site / "invoices/2026-04.html")
    for link in page.links:
        file, _, anchor = link.partition("#")
        target = (site / "invoices" / file).resolve() if file else site / "invoices/2026-04.html"
        assert target.is_file(), link
        assert not anchor or f'id="{anchor}"' in target.read_text(encoding="utf-8")
    assert sum(link.endswith("preview.pdf") for link in page.links) == 38
    assert "../invoices/2026-04.html" in Page(site / "metering/2026-04.html").links


def test_changed_previews_come_first_and_blocked_tenants_are_told_with_reasons(site: Path) -> None:
    page = Page(site / "invoices/2026-04.html")
    assert "2 tenants blocked, 38 previews made" in page.text
    for told in ("meter x: no charge", "another", *ODD_NAMES, "another currency", "no longer there: tenant-", "9 totals differ"):
        assert told in page.text
    assert "10JPY40EUR" in "".join(page.text.split())
    order = [path.split(".")[1] for path in page.figures if path.startswith("invoices.") and path.endswith("lines")]
    assert order[:3] == ["4", "8", "12"]  # every fourth differs; the difference of tenant 0 is 0


def test_a_gate_that_did_not_pass_is_told_where_nobody_is_blocked(tmp_path: Path) -> None:
    build(tmp_path, board(), report(), batch() | {"blocked": []}, previews())
    page = Page(tmp_path / "invoices/2026-04.html")
    assert "38 previews, nobody blocked Not ready to bill: metering_variance_money did not pass" in " ".join(page.text.split())
    assert 'class="verdict failed"' in page.source


def test_previews_that_are_gone_are_taken_away(tmp_path: Path) -> None:
    build(tmp_path, board(), report(), batch(), previews())
    fewer = {name: data for name, data in previews().items() if not name.startswith("tenant-05/")}
    gone = build(tmp_path, board(), report(), batch(), fewer)
    assert gone == [tmp_path / "invoices/2026-04/tenant-05" / name for name in sorted(PREVIEW)]
    assert not (tmp_path / "invoices/2026-04/tenant-05").exists()
    build(tmp_path, board(), report())
    assert [path for path in (tmp_path / "invoices").rglob("*") if path.is_file()] == []


def test_a_month_without_a_blocked_tenant_mover_or_earlier_batch_says_so(tmp_path: Path) -> None:
    build(
        tmp_path,
        board(),
        report(),
        batch() | {"blocked": [], "movers": [], "late": [], "previous": None, "gone": [], "not_passed": []},
        previews(),
    )
    text = Page(tmp_path / "invoices/2026-04.html").text
    assert "Not ready" not in text
    for told in ("38 previews, nobody blocked", "No tenant is blocked.", "there is no month before", "no earlier batch"):
        assert told in text


def test_a_waived_gate_is_said_to_be_waived_and_keeps_nobody_from_billing(tmp_path: Path) -> None:
    build(tmp_path, board(), report(), batch() | {"waived": ["metering_variance_money"], "blocked": []}, previews())
    text = " ".join(Page(tmp_path / "invoices/2026-04.html").text.split())
    assert "Not ready" not in text
    assert "≡ 38 previews, nobody blocked Waived: metering_variance_money (by whom, why and until when)." in text


def test_the_page_of_a_draft_shows_who_cannot_be_rated_first(tmp_path: Path) -> None:
    page_file = tmp_path / "what-if.html"
    replace(page_file, what_if_page(what_if()))
    page = Page(page_file)
    known = {path: "" if value is None else str(value) for path, _, value in leaves(what_if())}
    assert page.figures == {path: known[path] for path in page.figures}
    order = [path.split(".")[1] for path in page.figures if path.startswith("tenants.") and path.endswith("before.net")]
    assert order[:2] == ["7", "39"]  # blocked, then the largest difference
    for told in ("Under the draft: meter <x>: no charge prices 5", "2027 <i>", "39 tenants of 40", *ODD_NAMES):
        assert told in page.text
    assert not page.tags & {"script", "i", "b"}
