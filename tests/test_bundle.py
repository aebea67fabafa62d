"""A bundle is whole or absent, follows from its payload, and is never overwritten."""

import hashlib
import multiprocessing
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bagit
import pytest

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import Bundle, build, name_fault
from mc_pipelines.evidence.signing import signer

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)
FILES = {"scoreboard.json": b'{"verdict":"failed"}\n', "tables/variance.csv": b"tenant_id,delta\na,0\n", "empty.txt": b""}


@pytest.fixture(autouse=True)
def _no_configured_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)


def make(root: Path, files: dict[str, bytes] = FILES, name: str = "2026-04") -> Bundle:
    return build(root / "evidence", name, files, {"period": "2026-04"}, signer(root / "keys"), signed_at=NOW)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_layout(tmp_path: Path) -> None:
    made = make(tmp_path)
    found = content(made.path)
    assert sorted(found) == [
        "bag-info.txt",
        "bagit.txt",
        "data/empty.txt",
        "data/scoreboard.json",
        "data/tables/variance.csv",
        "manifest-sha256.txt",
        "provenance.intoto.jsonl",
        "tagmanifest-sha256.txt",
        "trusted-keys.json",
    ]
    assert found["bag-info.txt"] == b"Bag-Software-Agent: mc-pipelines\nPayload-Oxum: 41.3\n"  # 21 + 20 + 0 bytes, 3 files
    assert made.digest == hashlib.sha256(found["manifest-sha256.txt"]).hexdigest()
    assert made.envelope == hashlib.sha256(found["provenance.intoto.jsonl"]).hexdigest()
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["2026-04"]


def test_bagit_finds_it_valid(tmp_path: Path) -> None:
    assert bagit.Bag(str(make(tmp_path).path)).validate(processes=1, fast=False)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first = content(make(tmp_path).path)
    (tmp_path / "evidence").rename(tmp_path / "before")
    assert content(make(tmp_path, dict(reversed(FILES.items()))).path) == first


def test_the_same_payload_is_returned_as_it_stands(tmp_path: Path) -> None:
    first = make(tmp_path)
    before = content(first.path)
    again = build(tmp_path / "evidence", "2026-04", FILES, {"period": "2026-04"}, signer(tmp_path / "keys"))  # signed at another time
    assert (again.digest, again.envelope, first.made, again.made) == (first.digest, first.envelope, True, False)
    assert content(first.path) == before


def test_another_payload_or_a_damaged_bundle_is_never_overwritten(tmp_path: Path) -> None:
    made = make(tmp_path)
    with pytest.raises(MissionError, match=r"2026-04: exists with another content .* give a new edition"):
        make(tmp_path, FILES | {"scoreboard.json": b"{}"})
    (made.path / "bag-info.txt").write_text("Payload-Oxum: 41.3\n")
    with pytest.raises(MissionError, match=r"bag-info.txt differs"):
        make(tmp_path)
    (tmp_path / "evidence/other").mkdir()
    with pytest.raises(MissionError, match="exists and is no bundle"):
        make(tmp_path, name="other")


@pytest.mark.parametrize(
    "name", ["../x", "/x", "a//b", "a/../b", ".hidden", "~x", "a b", "a\nb", "a%0Ab", "é", "a\\b", "con", "x.", "", "a/" * 8 + "b"]
)
def test_names_that_are_not_portable_are_refused(tmp_path: Path, name: str) -> None:
    assert name_fault(name)
    with pytest.raises(MissionError, match="give another name"):
        make(tmp_path, {name: b""})
    with pytest.raises(MissionError, match="give another name"):
        make(tmp_path, name=name)
    assert not (tmp_path / "evidence").exists()


def test_nothing_and_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissionError, match="no files"):
        make(tmp_path, {})
    with pytest.raises(MissionError, match="are one file where case"):
        make(tmp_path, {"a.txt": b"", "A.txt": b""})
    with pytest.raises(MissionError, match="name is one segment"):
        make(tmp_path, name="a/b")


def test_floats_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="float"):
        build(tmp_path / "evidence", "x", FILES, {"ratio": 0.5}, signer(tmp_path / "keys"))
    assert list((tmp_path / "evidence").iterdir()) == []


def die_before_rename(root: Path) -> None:
    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Path.rename = die  # type: ignore[method-assign, assignment]  # the process ends here
    make(root)


def test_killed_before_the_rename_there_is_no_bundle_and_the_next_build_clears_up(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_before_rename, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (left,) = (tmp_path / "evidence").iterdir()
    assert left.name.startswith(".2026-04.building-")
    assert make(tmp_path).made
    assert [path.name for path in (tmp_path / "evidence").iterdir()] == ["2026-04"]


def test_processes_that_build_the_same_make_it_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        built = pool.map(make, [tmp_path] * 8)
    assert sorted(one.made for one in built) == [False] * 7 + [True]
    assert len({(one.digest, one.envelope) for one in built}) == 1
