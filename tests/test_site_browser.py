"""The site in a real headless Chromium: accessibility by axe-core in light and dark, no request but the file, keyboard and print."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import opened, violations
from test_site import bare, board, build, report
from test_site_finance import dashboard, night
from test_site_invoices import batch, previews, what_if

from mc_pipelines.site.build import replace, what_if_page
from mc_pipelines.site.finance import build_board, build_tonight

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = ("index.html", "metering/2026-04.html", "invoices/2026-04.html", "what-if.html", "finance/2026-04.html", "tonight.html")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A full and an empty site."""
    folder = tmp_path_factory.mktemp("browser")
    build(folder / "full", board(), report(), batch(), previews())
    replace(folder / "full" / "what-if.html", what_if_page(what_if()))
    build_board(folder / "full", dashboard())
    build_tonight(folder / "full", night(), closed=True)
    build_board(
        folder / "bare", dashboard() | {key: [] for key in ("tenants", "totals", "plans", "meters", "explained", "waivers", "change")}
    )
    build_tonight(
        folder / "bare",
        night() | {"blockers": [], "moved": None, "by_tenant": [], "unbilled": {"totals": [], "plans": [], "meters": []}},
        closed=False,
    )
    nothing: dict[str, list[Any]] = {name: [] for name in ("totals", "plans", "meters", "movers", "late", "invoices", "blocked", "gone")}
    build(folder / "bare", *bare(), batch() | nothing | {"previous": None})
    replace(folder / "bare" / "what-if.html", what_if_page(what_if() | {"meters": [], "tenants": what_if()["tenants"][7:8]}))
    return {name: folder / name for name in ("full", "bare")}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["full", "bare"])
def test_no_axe_violation(browser: "Browser", sites: dict[str, Path], which: str, name: str, scheme: str) -> None:
    page, _ = opened(browser, sites[which] / name, color_scheme=scheme)
    assert violations(page) == []
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_nothing_but_the_file_is_asked_for(browser: "Browser", sites: dict[str, Path], name: str) -> None:
    path = sites["full"] / name
    page, asked = opened(browser, path)
    page.wait_for_load_state("networkidle")
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_skip_link_comes_first_and_leads_to_the_content(browser: "Browser", sites: dict[str, Path], name: str) -> None:
    page, _ = opened(browser, sites["full"] / name)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    box = page.locator(".skip").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [320, 390, 768, 1200])
@pytest.mark.parametrize("which", ["full", "bare"])
def test_page_never_scrolls_sideways(browser: "Browser", sites: dict[str, Path], which: str, name: str, width: int) -> None:
    page, _ = opened(browser, sites[which] / name, viewport={"width": width, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_long_gate_names_and_digests_break_after_separators_only(browser: "Browser", tmp_path: Path, width: int, scheme: str) -> None:
    long = board()
    names = ["metering_quarantine_value_of_every_tenant_and_meter", "metering_variance_tenants_by_the_hour"]
    for gate, name in zip(long["deliverables"][0]["gates"], names, strict=False):
        gate["gate"] = name
    for attempt in long["deliverables"][0]["attempts"]:
        attempt |= {"digest": "0123456789abcdef" * 4, "failed": names}
    build(tmp_path, long, report())
    page, _ = opened(browser, tmp_path / "index.html", viewport={"width": width, "height": 900}, color_scheme=scheme)
    lines = page.evaluate("""() => [...document.querySelectorAll(".gates > tbody > tr > th, .attempts code")].map(cell =>
        [...cell.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => {
            const range = document.createRange(); range.selectNodeContents(node);
            return [node.textContent, new Set([...range.getClientRects()].map(each => each.top)).size]}))""")
    assert [part for cell in lines for part in cell if part[1] != 1] == []
    shown = ["".join(text for text, _ in cell) for cell in lines]
    assert {*names, "0123456789abcdef" * 4} <= set(shown)
    page.context.close()


def test_print_hides_navigation_and_keeps_the_verdict(browser: "Browser", sites: dict[str, Path]) -> None:
    page, _ = opened(browser, sites["full"] / "index.html")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.locator(".verdict").is_visible()
    assert page.pdf().startswith(b"%PDF")
    page.context.close()
