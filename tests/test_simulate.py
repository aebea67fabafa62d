"""The generator's files against its own truth, read back without the pipeline."""

import json
from collections import Counter
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.simulate import CLASSES, ZONES, Format, simulate
from mc_pipelines.truth import Truth

START = date(2026, 4, 1)


def made(out: Path, events: int = 20_000, form: Format = "ndjson", faults: bool = True) -> Truth:
    return simulate(out, events, 12, START, 10, 7, form, faults)


def landed(out: Path) -> list[dict[str, Any]]:
    files = sorted((out / "landing" / "usage_events").glob("*/*.ndjson"))
    good = [path for path in files if not path.name.startswith("malformed")]
    return [json.loads(line) | {"file": path.name} for path in good for line in path.read_text().splitlines()]


def spoilt(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (out / "landing" / "usage_events").glob("*/malformed-*.ndjson"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    out = tmp_path_factory.mktemp("simulated")
    return out, made(out)


def test_rows_land_as_the_truth_counts_them(home: tuple[Path, Truth]) -> None:
    out, truth = home
    rows = landed(out)
    assert len(rows) == truth.accepted
    assert spoilt(out) == truth.quarantined
    assert truth.rows["usage_events"] == truth.accepted + truth.quarantined
    by_file = Counter(row["file"].split("-")[0] for row in rows)
    # One event in 2000 of each kind, 20 000 events: ten.
    assert {name: truth.planted[name] for name in CLASSES} == dict.fromkeys(CLASSES, 10)
    assert (by_file["late"], by_file["copies"], by_file["conflicts"], by_file["drift"], spoilt(out)) == (10,) * 5
    planted = truth.planted
    assert len(rows) == 20_000 - planted["missing"] - planted["malformed"] + planted["duplicates"] + planted["conflicting_duplicates"]
    assert sum(truth.malformed.values()) == 10
    assert truth.planted["out_of_order"] > 5000
    assert json.loads((out / "truth.json").read_text())["planted"] == truth.planted


def test_daily_truth_is_what_the_files_say(home: tuple[Path, Truth]) -> None:
    out, truth = home
    sums: Counter[tuple[str, str, str]] = Counter()
    paths: set[tuple[str, str, str]] = set()
    seen = set()
    for row in sorted(landed(out), key=lambda row: str(row["ingested_at"])):
        if row["id"] in seen:
            continue
        seen.add(row["id"])
        zone = ZoneInfo(ZONES[int(row["subject"][-5:]) % len(ZONES)])
        day = str(datetime.fromisoformat(row["time"]).astimezone(zone).date())
        sums[row["subject"], "api_requests", day] += 1
        sums[row["subject"], "egress_bytes", day] += row["data"]["bytes"]
        paths.add((row["subject"], day, row["data"]["path"]))
    for tenant, day, _ in paths:
        sums[tenant, "unique_paths", day] += 1
    assert {(tenant, meter, day): quantity for tenant, meter, day, quantity in truth.daily} == dict(sums)


def test_months_differ_by_what_was_planted(home: tuple[Path, Truth]) -> None:
    _, truth = home
    requests = [(metered, reference) for _, meter, _, metered, reference in truth.months if meter == "api_requests"]
    assert sum(reference for _, reference in requests) == 20_000 - truth.planted["malformed"] - truth.planted["extra"]
    # Events of 31 March in the zones behind UTC may land after March's cut-off; all others land in time.
    late_for_march = sum(quantity for _, meter, day, quantity in truth.daily if meter == "api_requests" and day < "2026-04-01")
    lost = 20_000 - truth.planted["malformed"] - truth.planted["missing"] - sum(metered for metered, _ in requests)
    assert 0 <= lost <= late_for_march


def test_the_same_seed_gives_the_same_files(tmp_path: Path, home: tuple[Path, Truth]) -> None:
    out, truth = home
    assert made(tmp_path) == truth
    names = sorted(path.relative_to(out) for path in (out / "landing").rglob("*.ndjson"))
    assert names
    assert all((out / name).read_bytes() == (tmp_path / name).read_bytes() for name in names)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_formats_hold_the_same_truth(form: Format, tmp_path: Path, home: tuple[Path, Truth]) -> None:
    assert made(tmp_path, form=form) == home[1]
    assert len(list((tmp_path / "landing" / "usage_events").glob(f"*/events-*.{form}"))) == 10


def test_without_faults_both_sides_agree(tmp_path: Path) -> None:
    truth = made(tmp_path, 3000, faults=False)
    assert {name: truth.planted[name] for name in CLASSES} == dict.fromkeys(CLASSES, 0)
    assert truth.accepted == truth.rows["usage_events"] == 3000
    assert all(metered == reference for _, _, month, metered, reference in truth.months if month == "2026-04")


def test_large_runs_log_hours_instead_of_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mc_pipelines.simulate.IDS_UP_TO", 0)
    truth = made(tmp_path)
    assert truth.rows["gateway_log"] < 20_000


def test_the_reference_files_are_read_by_the_project(home: tuple[Path, Truth]) -> None:
    from mc_pipelines import reference

    assert len(reference.read(Home(home[0]), "tenants")) == 12
    assert set(reference.read_sources(Home(home[0]))) == {"usage_events", "gateway_log"}


def test_bad_arguments_and_used_folders_are_refused(tmp_path: Path, home: tuple[Path, Truth]) -> None:
    with pytest.raises(MissionError, match="at least 1 each"):
        simulate(tmp_path, 0, 1, START, 1, 1)
    with pytest.raises(MissionError, match="has files already"):
        made(home[0])
