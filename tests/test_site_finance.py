"""The finance dashboard and tonight's close as pages: every figure is the JSON's, links lead somewhere, odd names stay text."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_site import NAMES, ODD_NAMES, Page, leaves

from mc_pipelines.site.finance import STATES, build_board, build_tonight

MONTH = "2026-04"
AMOUNTS = ("net", "tax", "total", "corrected", "credits_used", "payable")


def dashboard() -> dict[str, Any]:
    """Ten tenants in two currencies, two in each state; one has no invoice."""
    states = list(STATES)
    tenants = [
        {
            "tenant_id": f"tenant-{number:02d}",
            "name": (ODD_NAMES + NAMES)[number],
            "state": states[number % 5],
            "since": "2026-05-03T06:00:00.000000Z",
            "blockers": ["metering_variance_tenants", "invoice_corrections_rated"] if number % 5 == 0 else [],
            "owners": ["team:<b>ops"] if number % 5 == 0 else [],
            "edition": number + 1,
            "plan": "growth",
            "currency": ("EUR", "JPY")[number % 2],
            **dict.fromkeys(AMOUNTS, f"{number * 1000}.50" if number else None),
            "before": None,
            "change": "-10.25" if number % 3 else None,
        }
        for number in range(10)
    ]
    sums = {"invoices": 5, "billed": "100.00", "unbilled": "200.00", **dict.fromkeys(AMOUNTS, "300.00")}
    return {
        "period": MONTH,
        "edition": 3,
        "digest": "ab" * 32,
        "verdict": "failed",
        "requested_by": "<i>ops",
        "counts": dict.fromkeys(STATES, 2),
        "tenants": tenants,
        "totals": [{"currency": each, **sums} for each in ("EUR", "JPY")],
        "plans": [{"currency": each, "plan": plan, **sums} for each in ("EUR", "JPY") for plan in ("growth", "starter")],
        "meters": [
            {"currency": "EUR", "meter": meter, "kind": kind, "billed": "1.00", "unbilled": "2.00"}
            for meter, kind in (("", "flat"), ("api", "usage"))
        ],
        "explained": [{"currency": "EUR", "reference": "1000", "absolute": "2.5", "net": "-1.5", "explained": "1", "ratio": "0.0025"}],
        "waivers": [
            {"gate": "metering_conflicts", "tenants": tenants, "state": state, "rationale": "<b>settled</b>", "owner": "team:sre"}
            | {"expires": "2026-05-31", "person": "dana", "entry": 7}
            for tenants, state in ((None, "stands"), (["acme", "beta"], "expired"))
        ],
        "change": [{"currency": "EUR", "before": "10.00", "now": "7.50", "difference": "-2.50"}],
    }


def night() -> dict[str, Any]:
    """A night with one blocker, two tenants and an earlier rehearsal."""
    sums = {"invoices": 2, **dict.fromkeys(AMOUNTS, "167.00")}
    return {
        "rehearsal": True,
        "period": MONTH,
        "day": "2026-04-20",
        "as_of": "2026-04-20T23:59:59.999999Z",
        "tenants": 2,
        "would_close": 1,
        "blockers": [
            {"gate": "metering_conflicts", "status": "failed", "owner": "team:<b>ops", "reason": "3 <conflicts> are open", "tenants": 1}
            | {"runbook": "docs/runbooks/metering_conflicts.md", "everybody": False}
        ],
        "gates": {"metering_conflicts": "failed"},
        "unbilled": {
            "totals": [{"currency": "EUR", **sums}],
            "plans": [{"currency": "EUR", "plan": "growth", **sums}],
            "meters": [{"currency": "EUR", "meter": "", "kind": "flat", "invoices": 2, "net": "37.00"}],
        },
        "by_tenant": [
            {
                "tenant_id": f"tenant-{number}",
                "name": ODD_NAMES[number],
                "plan": "growth",
                "currency": "EUR",
                "net": net,
                "held": held,
            }
            for number, (net, held) in enumerate((("167.00", []), (None, ["metering_conflicts"])))
        ],
        "moved": {
            "since": "2026-04-19",
            "would_close": -1,
            "held": [f"tenant-{number}" for number in range(1, 23)],
            "freed": [],
            "failed": ["metering_conflicts"],
            "passed": [],
        }
        | {"unbilled": [{"currency": "EUR", "before": "150.00", "now": "167.00", "difference": "17.00"}]},
    }


@pytest.mark.parametrize(
    ("document", "page", "expected"),
    [
        (
            dashboard(),
            f"finance/{MONTH}.html",
            {f"tenants.{number}.payable" for number in range(1, 10)}
            | {f"totals.{place}.{name}" for place in (0, 1) for name in ("billed", "unbilled", "credits_used", "payable")}
            | {f"plans.{place}.{name}" for place in range(4) for name in ("billed", "unbilled")}
            | {f"meters.{place}.unbilled" for place in (0, 1)}
            | {"explained.0.explained", "change.0.difference", "counts.candidate"},
        ),
        (
            night(),
            "tonight.html",
            {"would_close", "tenants", "blockers.0.tenants", "moved.unbilled.0.difference", "unbilled.totals.0.net", "by_tenant.0.net"},
        ),
    ],
)
def test_every_figure_is_the_jsons_and_none_is_missing(tmp_path: Path, document: dict[str, Any], page: str, expected: set[str]) -> None:
    build_board(tmp_path, document) if "totals" in document else build_tonight(tmp_path, document, closed=True)
    shown = Page(tmp_path / page).figures
    said = json.loads((tmp_path / page).with_suffix(".json").read_bytes())
    known = {path: "" if value is None else str(value) for path, _, value in leaves(said)}
    assert shown == {path: known[path] for path in shown}
    assert expected <= shown.keys()


def test_held_tenants_come_first_with_gates_and_owners_and_nothing_is_markup(tmp_path: Path) -> None:
    build_board(tmp_path, dashboard())
    text = (tmp_path / "finance" / f"{MONTH}.html").read_text(encoding="utf-8")
    assert text.index('id="candidate"') < text.index('id="reconciled"') < text.index('id="published"')
    for raw in ("<script>alert", "team:<b>", "<b>settled", "<i>ops"):
        assert raw not in text
    for shown in ("team:&lt;b&gt;ops", "all that it holds", "expired"):
        assert shown in text
    build_tonight(tmp_path, night(), closed=True)
    text = (tmp_path / "tonight.html").read_text(encoding="utf-8")
    assert "3 &lt;conflicts&gt; are open" in text
    assert "tenant-19, tenant-20 and 2 more" in text


def test_the_same_document_writes_nothing_again(tmp_path: Path) -> None:
    assert len(build_board(tmp_path, dashboard())) == 4
    assert build_board(tmp_path, dashboard()) == []
    assert len(build_tonight(tmp_path, night(), closed=True)) == 2
    assert build_tonight(tmp_path, night(), closed=True) == []


def test_no_link_leads_to_a_page_that_is_not_made(tmp_path: Path) -> None:
    """Without prices there are no invoices, before the first close there is no scoreboard."""
    unpriced = [row | dict.fromkeys(AMOUNTS) | {"currency": "", "plan": "", "change": None} for row in dashboard()["tenants"]]
    build_board(tmp_path, dashboard() | {"tenants": unpriced, "totals": [], "plans": [], "meters": []})
    assert f"../invoices/{MONTH}.html" not in Page(tmp_path / "finance" / f"{MONTH}.html").links
    build_tonight(tmp_path, night(), closed=False)
    assert "index.html" not in Page(tmp_path / "tonight.html").links
    build_tonight(tmp_path, night(), closed=True)
    assert "index.html" in Page(tmp_path / "tonight.html").links


def test_links_lead_to_the_files_beside_it(tmp_path: Path) -> None:
    build_board(tmp_path, dashboard())
    links = [link for link in Page(tmp_path / "finance" / f"{MONTH}.html").links if not link.startswith(("..", "#"))]
    assert {f"{MONTH}.csv", f"{MONTH}.xlsx", f"{MONTH}.json"} <= set(links)
    assert all((tmp_path / "finance" / link).is_file() for link in links)
