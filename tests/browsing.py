"""Pages of the site in a real headless Chromium, as the tests look at them. The fixture `browser` of conftest.py opens it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")


def opened(browser: "Browser", path: Path, **context: Any) -> tuple["Page", list[str]]:
    """The loaded page and every address it asked for."""
    page = browser.new_context(**context).new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(f"console: {message.text}"))
    page.goto(path.as_uri())
    return page, asked


def violations(page: "Page") -> list[tuple[str, str, int]]:
    """What axe-core finds, everything folded out: the rule, the first place and how many there are."""
    from axe_core_python.sync_playwright import Axe

    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    return [(each["id"], each["nodes"][0]["html"][:200], len(each["nodes"])) for each in Axe().run(page)["violations"]]
