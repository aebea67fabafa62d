"""What an on-call person sees: the real Dagster UI in a real browser, with a passed and a failed gate on their asset pages."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest
from conftest import free_port
from test_month import lay, plain

from mc_pipelines.home import CHECKOUT, Home
from mc_pipelines.orchestra import run_job

CHROMIUM = which("chromium") or which("chromium-browser") or which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
START_SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server on a home whose month lacks a day of usage, closed through Dagster."""
    root: Path = tmp_path_factory.mktemp("ui")
    home: Home = lay(root)
    (home.landing / "usage_events" / "2026-04-10" / "a.ndjson").unlink()
    plain(home)
    assert run_job(home, "month_end", ["2026-04-01"]).ok
    port = free_port()
    environment = os.environ | {"DAGSTER_HOME": str(home.dagster), "MISSION_HOME": str(home.root)}
    command = [sys.executable, "-m", "dagster_webserver", "-w", str(CHECKOUT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, env=environment, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{address} did not answer within {START_SECONDS} s")


def _page_text(address: str, asset: str, expected: str) -> str:
    return _text(f"{address}/assets/{asset}?view=checks&checkDetail={expected}", expected, "Succeeded|Failed|Passed", expected)


def _text(url: str, expected: str, pattern: str, name: str) -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(url, wait_until="domcontentloaded")
        page.get_by_text(expected).first.wait_for(timeout=60_000)
        page.wait_for_function(f"() => /{pattern}/.test(document.body.innerText)", timeout=60_000)
        text = page.inner_text("body")
        if folder := os.environ.get("MISSION_SHOTS"):
            page.screenshot(path=f"{folder}/{name}.png")
        browser.close()
        return text


def test_a_passed_gate_shows_as_passed_on_its_asset(server: str) -> None:
    text = _page_text(server, "metering/conflict_summary", "metering_conflicts")
    assert "Succeeded" in text or "Passed" in text
    assert "Failed" not in text


def test_a_failed_gate_shows_as_failed_with_its_offending_rows(server: str) -> None:
    text = _page_text(server, "metering/landing_summary", "metering_landing_complete")
    assert "Failed" in text
    assert "missing_days" in text or "offending" in text.lower()


def test_an_asset_page_says_what_each_column_holds_and_where_it_comes_from(server: str) -> None:
    text = _text(f"{server}/assets/metering/variance_meters", "variance_ratio", "Sum of the signed differences", "columns")
    assert "Sum of the signed differences." in text
    assert "metering.variance.delta" in text
    assert "decimal(38,9)" in text


def test_a_daily_table_shows_when_it_is_late(server: str) -> None:
    text = _text(f"{server}/assets/metering/usage_daily", "Freshness policy", "36 hours", "freshness")
    assert "Fails if more than 36 hours since last materialization" in text
