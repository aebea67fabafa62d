"""Files appear whole or not at all; the first one stays."""

import stat
from pathlib import Path

import pytest

from mc_pipelines.disk import DiskError
from mc_pipelines.durable import create, sync_folder, write


def test_the_first_file_stays(tmp_path: Path) -> None:
    assert create(tmp_path / "a", b"first", mode=0o600)
    assert not create(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskError, match=r"/a: the disk is full.*No space left"):
        create(tmp_path / "a", b"text")
    assert list(tmp_path.iterdir()) == []


def test_write_takes_no_file_that_is_there(tmp_path: Path) -> None:
    write(tmp_path / "a", b"text")
    with pytest.raises(FileExistsError, match="a"):
        write(tmp_path / "a", b"other")
    sync_folder(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"text"
