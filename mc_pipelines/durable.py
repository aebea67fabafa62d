"""Files and folders that appear whole or not at all, whenever the process is killed or the power fails.

Only the way onto the disk belongs here; what is written, and what its appearing means, do not.
"""

import os
import tempfile
from pathlib import Path

from mc_pipelines.disk import writing


def create(path: Path, data: bytes, *, mode: int = 0o644) -> bool:
    """Make the file, whole and on disk, or leave the one that is there and return false. Killed at any point, never a part of it.

    DiskError where the disk does not take it, here and below.
    """
    with writing(path):
        return _create(path, data, mode)


def _create(path: Path, data: bytes, mode: int) -> bool:
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)
    except FileExistsError:
        return False
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Put the bytes in place of what the file holds, in one step; a reader sees the old ones or the new ones."""
    with writing(path):
        _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Names of files are on disk only once their folder is."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, data: bytes) -> None:
    """A new file with its bytes on disk. FileExistsError where there is one; for a folder that nobody else sees yet."""
    with writing(path), path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
