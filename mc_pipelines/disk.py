"""Errors of the disk in words: full, read-only, not permitted; and files read within bounds. What is written or read does not belong here.

The libraries below raise these as OSError, or as errors of their own that only name the system's error in their text.
"""

import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mc_pipelines.errors import MissionError

ROOM = 4 << 20
"""Bytes that must be free before a table is written: with none at all delta-rs ends in a panic that prints a backtrace of its own."""
MOST_BYTES = 256 << 10
"""The largest file that is read where its reader names no limit."""
_PERMITTED = "access is not permitted. Give this user the right to write there, or run as the user who owns the home"
REMEDIES = {
    errno.ENOSPC: "the disk is full. Make room (mission vacuum frees what no newest version and no signed attempt needs)",
    errno.EDQUOT: "the disk quota is used up. Raise it or make room",
    errno.EFBIG: "the file would be larger than is allowed. Raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only. Mount it writable",
    errno.EACCES: _PERMITTED,
    errno.EPERM: _PERMITTED,
}
_CODE = re.compile(r"\(os error (\d+)\)|\bOs { code: (\d+)")  # how delta-rs says it
_WORDS = (  # how DuckDB says it
    (re.compile(r"No space left on device|'max_temp_directory_size'"), errno.ENOSPC),
    (re.compile(r"File too large"), errno.EFBIG),
    (re.compile(r"Read-only file system"), errno.EROFS),
    (re.compile(r"Permission denied"), errno.EACCES),
)
_COLOUR = re.compile(r"\x1b\[\d*m")


class DiskError(MissionError):
    """The disk does not take what is written. What stood before stands."""


def fault(error: Exception) -> int | None:
    """The errno of a disk that does not take writes, where that is what the error is about."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in REMEDIES else None
    text = str(error)
    if code := _CODE.search(text):
        number = int(code[1] or code[2])
        return number if number in REMEDIES else None
    return next((number for pattern, number in _WORDS if pattern.search(text)), None)


@contextmanager
def writing(path: Path | str, *kinds: type[Exception]) -> Iterator[None]:
    """Around what writes at or below `path`: an OSError, or an error of `kinds`, becomes a DiskError where the disk is the reason."""
    caught: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except caught as error:
        number = fault(error)
        if number is None:
            raise
        said = " ".join(_COLOUR.sub("", str(error)).split())[:300]
        raise DiskError(f"{path}: {REMEDIES[number]} and run the same command again; what stood before stands. ({said})") from error


def room(path: Path | str, needed: int = ROOM) -> None:
    """DiskError where fewer than `needed` bytes are free for `path`, which need not exist yet. Local paths only."""
    there = next(each for each in (Path(path), *Path(path).parents) if each.exists())
    with writing(path):
        state = os.statvfs(there)
        if state.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if state.f_bavail * state.f_frsize < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def probe(folder: Path, size: int = 1 << 20) -> None:
    """Write a file that is gone again, so that a library's vague error becomes the disk's own. DiskError where that fails."""
    with writing(folder), tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())


def read_bounded(path: Path, limit: int = MOST_BYTES) -> bytes:
    """The bytes of a plain file that is not larger than `limit`. MissionError for anything else; nothing is waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise MissionError(f"{path}: no plain file. Name a file.")
            data = file.read(limit + 1)
    except OSError as error:
        raise MissionError(f"{path}: {error.strerror}. Check the name, and that you may read it.") from error
    if len(data) > limit:
        raise MissionError(f"{path}: larger than the {limit} bytes that are read. Shorten it.")
    return data


def there(path: Path) -> bool:
    """Whether there is anything of that name, a link to nowhere too: whoever reads it then says what is wrong. MissionError where nobody can tell."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise MissionError(f"{path}: {error.strerror}. Check the name, and that you may read its folder.") from error
    return True
