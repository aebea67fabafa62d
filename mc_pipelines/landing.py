"""Landed files: which there are for a source and day, whether they are whole, what their bytes are. Nothing of rows or contracts.

The landing day is the folder's date. A file that is hidden, half written, truncated or no known format is left for the next look and said.
"""

import gzip
import hashlib
import re
import stat
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["ndjson", "csv", "parquet"]
SUFFIXES: dict[str, Format] = {".ndjson": "ndjson", ".jsonl": "ndjson", ".csv": "csv", ".parquet": "parquet"}
CHUNK = 1 << 20
FRESH_NS, PAUSE_S = 2_000_000_000, 0.5
"""A file written to in the last two seconds is looked at twice, half a second apart, to see whether it still grows."""
NO_LINE_END = (
    "its last line has no line end, so its last value may be cut; where the file is whole, add one (echo >> FILE, echo | gzip >> FILE.gz)"
)
MOST_LINE = 1 << 20
"""Bytes of the longest line that is read as a row; a longer one is quarantined with its beginning."""
UTF16 = (b"\xff\xfe", b"\xfe\xff")
ROW_NAMES = frozenset({"landed_path", "landed_row", "file_row_number"})
"""Columns that the readers in `rawlines.py` put beside a Parquet file's own."""
REPLAY = re.compile(r"replay-of-(\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True)
class Scan:
    """What one pass over a file's bytes found. `rows` counts lines that are not blank; `clean` text needs no splitting by hand."""

    sha256: str
    rows: int
    clean: bool
    quoted: bool
    whole: bool
    why: str


@dataclass(frozen=True)
class LandedFile:
    """A landed file; `name` is relative to the landing folder."""

    path: Path
    name: str
    format: Format
    gzipped: bool
    bytes: int
    scan: Scan

    @property
    def replay_of(self) -> date | None:
        """The landing day that this file's rows were first refused on, from its name."""
        found = REPLAY.match(self.path.name)
        return date.fromisoformat(found[1]) if found else None


def opened(path: Path) -> Iterator[bytes]:
    """The file's content in chunks, gzip undone."""
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _scan(path: Path, kind: Format, size: int, changed_ns: int) -> Scan:
    """Scan once per content; size and modification time only say whether to look again, never which day a file is of."""
    sha = _digest(path)
    if kind == "parquet":
        return _parquet(path, sha)
    if size == 0 and path.suffix == ".gz":
        return Scan(sha, 0, False, False, False, "empty: no gzip stream yet")
    rows, clean, quoted, rest, last = 0, True, False, b"", b""
    try:
        for chunk in opened(path):
            if not (rows or rest) and chunk.startswith(UTF16):
                return Scan(sha, 0, False, False, False, "UTF-16 by its first bytes; write it in UTF-8")
            if clean and (
                b"\0" in chunk
                or b"\r" in chunk
                or b"\x1f" in chunk
                or b"\x1e" in chunk
                or b"\xef\xbb\xbf" in chunk
                or b"\xe2\x80\xa8" in chunk
            ):
                clean = False
            quoted = quoted or b'"' in chunk
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            clean = clean and all(_text(line) for line in (lines if len(rest) <= MOST_LINE else []))
            rows += sum(1 for line in lines if line.strip())
            last = lines[-1] if lines else last
            if len(rest) > MOST_LINE:  # one over-long line: keep its beginning, so that memory stays bounded
                clean, rest = False, rest[:MOST_LINE]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return Scan(sha, 0, False, False, False, f"gzip ends too early or is damaged ({error})")
    if kind == "csv" and rows + bool(rest.strip()) == 1 and b"\r" in (rest or last).strip():
        return Scan(sha, 1, False, quoted, False, "its lines end in CR alone; write them with LF or CRLF")
    if rest.strip():
        rows += 1
        if kind == "csv":
            return Scan(sha, rows, False, quoted, False, NO_LINE_END)
        clean = clean and _text(rest)
        if not rest.rstrip().endswith(b"}"):
            return Scan(sha, rows, False, quoted, False, "the last line ends in mid-row")
    return Scan(sha, rows, clean, quoted, True, "")


def _text(line: bytes) -> bool:
    if len(line) > MOST_LINE:
        return False
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _parquet(path: Path, sha: str) -> Scan:
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(-4, 2) if path.stat().st_size >= 8 else None
        tail = stream.read(4)
    if head != b"PAR1" or tail != b"PAR1":
        return Scan(sha, 0, False, False, False, "no Parquet footer: still being written, or truncated")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.ParquetFile(path)
        names = footer.schema_arrow.names
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        return Scan(sha, 0, False, False, False, f"not readable as Parquet ({error})")
    if twice := _twice(footer.schema_arrow):
        return Scan(sha, 0, False, False, False, f"column {', '.join(twice)}: stands twice, capitals aside; keep one")
    if taken := [name for name in names if name.lower() in ROW_NAMES]:
        return Scan(sha, 0, False, False, False, f"column {', '.join(taken)}: the reader needs this name; give the column another one")
    return Scan(sha, footer.metadata.num_rows, True, False, bool(names), "" if names else "has no columns")


def _twice(schema: "pa.Schema") -> list[str]:
    """Columns, or fields inside one, that a reader without regard to capitals cannot tell apart."""
    import pyarrow as pa

    groups = [list(schema.names)]
    groups += [[f"{each.name}.{inner.name}" for inner in each.type] for each in schema if pa.types.is_struct(each.type)]
    seen = [Counter(map(str.lower, names)) for names in groups]
    return sorted({name for names, count in zip(groups, seen, strict=True) for name in names if count[name.lower()] > 1})


def _format(path: Path) -> Format | None:
    name = path.name.removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix)


def look(home: Home, source: str, day: str) -> tuple[list[LandedFile], list[str]]:
    """The whole files of a landing day in name order, and a line for each file that was left alone."""
    found: list[LandedFile] = []
    left: list[str] = []
    folder = home.landing / source / day
    if folder.is_symlink():
        return [], [f"{source}/{day}: a link, whose files would be landed twice; move the folder itself here"]
    paths = sorted(folder.glob("*"))
    growing = _growing([path for path in paths if path.is_file() and not path.is_symlink()])
    for path in paths:
        name = path.relative_to(home.landing).as_posix()
        kind = _format(path)
        if path.name.startswith(".") or path.suffix in {".tmp", ".part"}:
            left.append(f"{name}: half written by its name; left for the next look")
        elif path.is_symlink() or not path.is_file():
            left.append(f"{name}: not a plain file; copy the content here")
        elif kind is None or (kind == "parquet" and path.suffix == ".gz"):
            left.append(f"{name}: unknown format; land .ndjson, .csv (either may be .gz) or .parquet")
        elif (replay := REPLAY.match(path.name)) and not _is_day(replay[1]):
            left.append(f"{name}: {replay[1]} is no day; name it replay-of-YYYY-MM-DD, the day that its rows were refused on")
        else:
            state = path.stat()
            scan = _scan(path, kind, state.st_size, state.st_mtime_ns)
            if path in growing or _state(path) != (state.st_size, state.st_mtime_ns):
                left.append(f"{name}: still growing; left for the next look. Write beside it, then rename")
            elif scan.whole:
                found.append(LandedFile(path, name, kind, path.suffix == ".gz", state.st_size, scan))
            else:
                left.append(f"{name}: {scan.why}; left for the next look")
    return found, left


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _growing(paths: list[Path]) -> set[Path]:
    """Files that somebody writes to at this moment. The clock only says which ones are worth a second look."""
    before = {path: _state(path) for path in paths}
    fresh = [path for path, (_, changed) in before.items() if abs(time.time_ns() - changed) < FRESH_NS]
    if fresh:
        time.sleep(PAUSE_S)
    return {path for path in fresh if _state(path) != before[path]}


def landing_days(home: Home, source: str) -> list[str]:
    """Landing days that have a folder, sorted. A folder whose name is no date is an error that names it."""
    days = []
    for path in sorted((home.landing / source).glob("*")):
        if not _is_day(path.name):
            raise MissionError(f"{path}: a landing folder is named by its day, YYYY-MM-DD. Rename or move it.")
        days.append(path.name)
    return days


def strays(home: Home, sources: Iterable[str]) -> list[str]:
    """A line for everything in the landing zone that no run will ever read: misspelt sources, and folders that are no day of a source."""
    known = sorted(sources)
    lines = [
        f"landing/{path.name}: no source of this name is declared, so nothing in it is read. Declared are {', '.join(known)}."
        for path in sorted(home.landing.glob("*"))
        if path.name not in known and not path.name.startswith(".")
    ]
    for path in sorted(each for source in known for each in (home.landing / source).glob("*")):
        if not path.name.startswith(".") and not (_is_day(path.name) and path.is_dir() and not path.is_symlink()):
            lines.append(
                f"landing/{path.parent.name}/{path.name}: no folder of a day, so nothing in it is read. Make it a folder named YYYY-MM-DD."
            )
    return lines


def _is_day(name: str) -> bool:
    """Whether a name is a day as folders are named by: YYYY-MM-DD, none of ISO 8601's other forms."""
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def _begins_with(path: Path, size: int, sha: str) -> bool:
    with path.open("rb") as stream:
        return hashlib.sha256(stream.read(size)).hexdigest() == sha


def _closed(path: Path, size: int) -> bool:
    """Whether all that was added to a file's first `size` bytes is the line end that it lacked."""
    with path.open("rb") as stream:
        stream.seek(size)
        added = stream.read(64)
    try:
        return (gzip.decompress(added) if path.suffix == ".gz" else added) in {b"\n", b"\r\n"}
    except (EOFError, OSError, zlib.error):
        return False


def unchanged(files: list[LandedFile], known: Mapping[str, tuple[str, int]]) -> None:
    """Landed files are immutable: MissionError where a known file's bytes changed or the file is gone.

    `known` has sha256 and size by name. A line end added to a last line without one changes no row, and is allowed.
    """
    now = {file.name: file.scan.sha256 for file in files}
    by_name = {file.name: file for file in files}
    for name, (sha, size) in sorted(known.items()):
        if name not in now:
            raise MissionError(
                f"landing/{name}: was landed with sha256 {sha} and is gone, or no longer whole. Put it back as it was; what must not count is voided by an amending event."
            )
        if now[name] != sha and by_name[name].bytes > size and _begins_with(by_name[name].path, size, sha):
            if _closed(by_name[name].path, size):
                continue
            raise MissionError(
                f"landing/{name}: grew after landing, from {size} to {by_name[name].bytes} bytes; its beginning is what landed. Move what was "
                f"added into a file of today's folder (tail -c +{size + 1}), and cut this one back (truncate -s {size})."
            )
        if now[name] != sha:
            raise MissionError(
                f"landing/{name}: bytes changed after landing (sha256 was {sha}, is {now[name]}). "
                "Put the first file back and land the new rows under another name in today's folder."
            )


def single(path: Path) -> LandedFile:
    """One file outside the landing zone, to be tried; MissionError where it is not whole or of no known format."""
    kind = _format(path)
    if kind is None:
        raise MissionError(f"{path}: unknown format; give .ndjson, .csv (either may be .gz) or .parquet.")
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise MissionError(f"{path}: no plain file. Name a file.")
    scan = _scan(path, kind, state.st_size, state.st_mtime_ns)
    if not scan.whole:
        raise MissionError(f"{path}: {scan.why}.")
    return LandedFile(path, path.name, kind, path.suffix == ".gz", state.st_size, scan)
