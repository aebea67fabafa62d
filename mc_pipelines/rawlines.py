"""Bytes to rows: lines become one JSON text a row, or a reject with its reason. No contract is known here."""

import csv
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mc_pipelines.contracts import literal
from mc_pipelines.landing import MOST_LINE, LandedFile, opened

if TYPE_CHECKING:
    import duckdb

RAW_CHARACTERS = 2000
Row = tuple[str | None, str | None, str | None]
"""(line, reject, raw): a JSON text, or the reason why there is none with an escaped beginning of what stood there."""


def likeness(con: "duckdb.DuckDBPyConnection", file: LandedFile) -> tuple[str, str]:
    """(kind of source, what files must share to be read together)."""
    if file.format == "parquet":
        described = con.sql(f"FROM read_parquet({literal(file.path)}, hive_partitioning = false) LIMIT 0")
        return "parquet", str(list(zip(described.columns, map(str, described.types), strict=True)))
    if file.format == "csv" and (header := _plain_header(con, file)):
        return "csv", header
    return ("ndjson" if file.scan.clean and file.format == "ndjson" else "by_hand"), ""


def counted(kind: str, file: LandedFile) -> int:
    """By how much the row number grows over a file: none where the source numbers each file by itself."""
    return {"ndjson": file.scan.rows, "csv": file.scan.rows - 1}.get(kind, 0)


def _names(files: Sequence[LandedFile]) -> str:
    return "[" + ", ".join(literal(file.path) for file in files) + "]"


def _ndjson(con: "duckdb.DuckDBPyConnection", files: Sequence[LandedFile]) -> str:
    blank = "' ' || chr(9) || chr(11) || chr(12)"
    return (
        "SELECT filename AS landed_path, row_number() OVER () AS landed_row, line, CAST(NULL AS VARCHAR) AS reject, CAST(NULL AS VARCHAR) AS raw "
        f"FROM read_csv({_names(files)}, columns = {{'line': 'VARCHAR'}}, header = false, auto_detect = false, delim = chr(31), "
        f"quote = '', escape = '', nullstr = chr(30), max_line_size = {2 * MOST_LINE}, filename = true) WHERE trim(line, {blank}) <> ''"
    )


def _csv_reader(names: str) -> str:
    return f"read_csv({names}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', auto_detect = true, filename = 'landed_path')"


def _csv(con: "duckdb.DuckDBPyConnection", files: Sequence[LandedFile]) -> str:
    return f"SELECT *, row_number() OVER () AS landed_row FROM {_csv_reader(_names(files))}"


def _plain_header(con: "duckdb.DuckDBPyConnection", file: LandedFile) -> str | None:
    """The header where DuckDB's own CSV reader reads the file whole: nothing quoted, every row of the header's width; else None."""
    import duckdb

    if not file.scan.clean or file.scan.quoted:
        return None
    source = _csv_reader(_names([file]))
    try:
        count = con.sql(f"SELECT count(*) FROM {source}").fetchall()[0][0]
        names = con.sql(f"SELECT * EXCLUDE (landed_path) FROM {source} LIMIT 0").columns
    except duckdb.Error:
        return None
    # DuckDB renames columns that repeat; split_csv refuses their rows instead.
    header = next(lines(opened(file.path)), (b"", False))[0].decode()
    taken = {"landed_path", "landed_row"} & {name.lower() for name in names}
    return header if count == file.scan.rows - 1 and header.split(",") == names and not taken else None


def _parquet(con: "duckdb.DuckDBPyConnection", files: Sequence[LandedFile]) -> str:
    reader = f"read_parquet({_names(files)}, hive_partitioning = false, filename = 'landed_path', file_row_number = true)"
    return f"SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS landed_row FROM {reader}"


def _by_hand(con: "duckdb.DuckDBPyConnection", files: Sequence[LandedFile]) -> str:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in ("landed_path", "landed_row", "line", "reject", "raw")}
    for file in files:
        rows = split_csv(file) if file.format == "csv" else split_lines(opened(file.path))
        for number, row in enumerate(rows, 1):
            for name, value in zip(columns, (str(file.path), number, *row), strict=True):
                columns[name].append(value)
    kinds = {"landed_row": pa.int64()}
    con.register("by_hand", pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()}))
    return "FROM by_hand"


SOURCES = {"ndjson": _ndjson, "csv": _csv, "parquet": _parquet, "by_hand": _by_hand}
"""By kind: SQL with `landed_path` (the file) and `landed_row` (row number, see `counted`), and `line, reject, raw` or the file's own columns."""
LINES = frozenset({"ndjson", "by_hand"})


def lines(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """(line, too_long) without line ends, in bounded memory: of an over-long line only the beginning is kept."""
    rest, too_long = b"", False
    for chunk in chunks:
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        for part in parts:
            yield part[:MOST_LINE], too_long or len(part) > MOST_LINE
            too_long = False
        if len(rest) > MOST_LINE:
            rest, too_long = rest[:MOST_LINE], True
    if rest:
        yield rest, too_long


def split_lines(chunks: Iterator[bytes]) -> Iterator[Row]:
    """Rows of a JSON Lines file. Blank lines are no rows; a byte order mark and CRLF are taken off."""
    for number, (line, too_long) in enumerate(lines(chunks)):
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
        content = content.removesuffix(b"\r")
        if content.strip():
            yield (None, "line:too_long", shown(content)) if too_long else _line(content)


def _line(content: bytes) -> Row:
    if b"\0" in content:
        return None, "line:nul_byte", shown(content)
    try:
        return content.decode("utf-8"), None, None
    except UnicodeDecodeError:
        return None, "line:not_utf8", shown(content)


def shown(content: bytes) -> str:
    """The beginning of bytes as text, with what is no text escaped."""
    return content[:RAW_CHARACTERS].decode("utf-8", "backslashreplace").replace("\0", "\\x00")[:RAW_CHARACTERS]


def split_csv(file: LandedFile) -> Iterator[Row]:
    """Rows of a CSV file by Python's own reader. Of a record that cannot be read (an open quote, another width) every line is a reject."""
    held: list[tuple[bytes, bool]] = []  # (line, too_long) of the record being read
    reader = csv.reader(_noted(opened(file.path), held), strict=True)
    csv.field_size_limit(MOST_LINE)
    header: list[str] | None = None
    while True:
        held.clear()
        try:
            record, unread = next(reader), None
        except StopIteration:
            return
        except csv.Error as error:
            record, unread = [], "line:too_long" if "limit" in str(error) else "csv:unreadable"
        content = [line for line, _ in held if line.strip()]
        if not content:
            continue
        if header is None:
            header = [name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for name in record]
            continue
        reject = "line:too_long" if any(too_long for _, too_long in held) else unread or _unusable(header, record)
        if reject:
            yield from ((None, reject, shown(line)) for line in content)
        else:
            texts = dict(zip(header, (value if value != "" else None for value in record), strict=True))
            yield json.dumps(texts, ensure_ascii=False), None, None


def _noted(chunks: Iterator[bytes], held: list[tuple[bytes, bool]]) -> Iterator[str]:
    """Lines as text, each noted in `held` as it is read. Bytes that are no text stay tellable."""
    for number, (line, too_long) in enumerate(lines(chunks)):
        content = (line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).removesuffix(b"\r")
        held.append((content, too_long))
        yield "\n" if too_long else content.decode("utf-8", "surrogateescape") + "\n"  # cut text must not open a quote


def _unusable(header: list[str], record: list[str]) -> str | None:
    """Why a record is no row under this header."""
    if len({name.lower() for name in header}) < len(header):
        return "csv:repeated_column"
    if len(record) != len(header):
        return "csv:columns"
    if any("\0" in value for value in record):
        return "line:nul_byte"
    return "line:not_utf8" if any("\udc80" <= letter <= "\udcff" for value in record for letter in value) else None
