"""The main job as a user sees it, in a home that does not exist yet: green, then nothing new; each drill red, with cause, rows and remedy."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mc_pipelines.home import CHECKOUT
from mc_pipelines.lake import Lake

MISSION = "from mc_pipelines.cli import main; main()"
RED = {
    "late": "period_differs on api_requests",
    "duplicates": "duplicate on api_requests",
    "missing": "missing on api_requests",
    "drift": "missing on egress_bytes",
}
"""By drill: the cause that is named first. In the plain demo no cause has 200 rows: 13 faults are planted, and the sample repeats 19 lines."""


def demo(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "MISSION_HOME": str(root)}
    command = [sys.executable, "-c", MISSION, "demo", *options]
    return subprocess.run(command, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)


def made(root: Path) -> tuple[dict[str, int | None], dict[str, str]]:
    """Every table's version, and the digest of every file of evidence and site."""
    lake = Lake(str(root / "lake"))
    files = [path for folder in ("evidence", "journal", "site") for path in sorted((root / folder).rglob("*")) if path.is_file()]
    digests = {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return {table: lake.version(table) for table in lake.tables()}, digests


def test_the_demo_is_green_and_a_second_one_makes_nothing_new(tmp_path: Path) -> None:
    first = demo(tmp_path / "home")
    assert first.returncode == 0, first.stdout + first.stderr
    lines = first.stdout.splitlines()
    assert lines[-1].split() == ["verdict", "passed"]
    (bundle,) = (Path(line.split()[1]) for line in lines if line.startswith("bundle "))
    assert (bundle / "bagit.txt").exists()
    (board,) = (Path(line.split()[1]) for line in lines if line.startswith("scoreboard "))
    assert "all 10 gates passed" in board.read_text(encoding="utf-8")
    before = made(tmp_path / "home")
    second = demo(tmp_path / "home")
    assert second.returncode == 0
    assert "nothing new: no table version, no bundle, no page byte changed" in second.stdout
    assert made(tmp_path / "home") == before


@pytest.mark.parametrize("fault", sorted(RED))
def test_a_drill_ends_red_and_names_cause_rows_and_remedy(tmp_path: Path, fault: str) -> None:
    done = demo(tmp_path / "home", "--fault", fault)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].split() == ["verdict", "failed"]
    failed = [line.split()[1] for line in lines if line.startswith("failed: ")]
    assert failed == ["metering_variance", "metering_variance_tenants"]
    assert [line.split()[1] for line in lines if line.strip().startswith("remedy: ")] == [f"docs/runbooks/{gate}.md" for gate in failed]
    (first, *_) = (line for line in lines if line.startswith("cause: "))
    said = re.fullmatch(r"cause: (.+): (\d+) row\(s\), .*", first)
    assert said is not None, first
    assert said[1] == RED[fault]
    assert int(said[2]) > 200
