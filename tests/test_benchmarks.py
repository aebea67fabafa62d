"""The benchmark of the close still runs and still compares: small sizes, no time asserted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from mc_pipelines.home import CHECKOUT


def bench(module: str, tmp_path: Path, *options: str) -> dict[str, Any]:
    document = tmp_path / "figures.json"
    command = [sys.executable, "-m", f"benchmarks.{module}", *options, "--json", str(document)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    figures: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
    return figures


def test_the_close_meets_the_truth_beside_the_scripts_in_both_formats_and_staging_writes_the_same_without_rules(tmp_path: Path) -> None:
    found = bench("close", tmp_path, "--events", "4K", "--tenants", "12", "--contract-events", "4K")
    (size,) = found["sizes"]
    assert size["totals_compared"] == 36  # 12 tenants, 3 meters
    assert {"mc_pipelines, every asset", "DuckDB script by hand"} <= size["median"].keys()
    assert found["contracts"]["cpu"].keys() == {"--rules", "--no-rules"}
    ndjson = bench("close", tmp_path, "--events", "4K", "--tenants", "12", "--contract-events", "0", "--format", "ndjson")
    assert ndjson["sizes"][0]["totals_compared"] == 36


def test_previews_of_some_tenants_are_rated_written_signed_and_verified(tmp_path: Path) -> None:
    (size,) = bench("previews", tmp_path, "--tenants", "3")["sizes"]
    assert size["tenants"] == 3
    assert size["lines"] >= 30  # ten charges each, at least one line a charge
    assert {row["model"] for row in size["profile"]} >= {"metering.rated", "bundle, signed", "bundle, verified"}
    assert all(size["bytes"].values())


def test_buckets_and_sample_are_those_by_hand(tmp_path: Path) -> None:
    found = bench("predictive", tmp_path, "--decisions", "40K")
    assert 0 < found["refused"] < 40_000
    assert [step["rows"] for step in found["steps"]] == [40_000, 2_000, 40_000, 2_000, 40_000]
