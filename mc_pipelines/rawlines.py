"""Bytes to rows: every landed format becomes one JSON text a row, or a reject with its reason. No contract is known here."""

import csv
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mc_pipelines.contracts import literal
from mc_pipelines.landing import MOST_LINE, LandedFile, opened

if TYPE_CHECKING:
    import duckdb

RAW_CHARACTERS = 2000
Row = tuple[str | None, str | None, str | None]
"""(line, reject, raw): a JSON text, or the reason why there is none with an escaped beginning of what stood there."""


def relation(con: "duckdb.DuckDBPyConnection", file: LandedFile, number: int) -> str:
    """SQL that selects `line, reject, raw` of one file, in the file's order. `number` keeps helper tables apart."""
    if file.format == "parquet":
        return _parquet(con, file)
    if file.scan.clean:
        if file.format == "ndjson":
            return (
                f"SELECT line, CAST(NULL AS VARCHAR) AS reject, CAST(NULL AS VARCHAR) AS raw FROM read_csv({literal(file.path)}, columns = {{'line': 'VARCHAR'}}, "
                f"header = false, auto_detect = false, delim = chr(31), quote = '', escape = '', nullstr = chr(30), max_line_size = {2 * MOST_LINE}) "
                "WHERE trim(line) <> ''"
            )
        if not file.scan.quoted and (fast := _fast_csv(con, file)):
            return fast
    return _by_hand(con, file, number)


def _fast_csv(con: "duckdb.DuckDBPyConnection", file: LandedFile) -> str | None:
    """DuckDB's own CSV reader, where every row has the header's width; None where it does not read the file whole."""
    import duckdb

    source = f"read_csv({literal(file.path)}, header = true, all_varchar = true, delim = ',', quote = '\"', escape = '\"', auto_detect = true, sample_size = 1000)"
    try:
        count = con.sql(f"SELECT count(*) FROM {source}").fetchall()[0][0]
    except duckdb.Error:
        return None
    return (
        f"SELECT CAST(to_json(each) AS VARCHAR) AS line, CAST(NULL AS VARCHAR) AS reject, CAST(NULL AS VARCHAR) AS raw FROM {source} AS each"
        if count == file.scan.rows - 1
        else None
    )


def _parquet(con: "duckdb.DuckDBPyConnection", file: LandedFile) -> str:
    described = con.sql(f"SELECT * FROM read_parquet({literal(file.path)}, hive_partitioning = false) LIMIT 0")
    columns = []
    for name, kind in zip(described.columns, map(str, described.types), strict=True):
        quoted = '"' + name.replace('"', '""') + '"'
        if kind == "TIMESTAMP WITH TIME ZONE":
            columns.append(f"strftime({quoted} AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS {quoted}")
        elif kind.startswith("STRUCT"):
            columns.append(quoted)
        elif kind.endswith("]"):
            columns.append(f"CAST(to_json({quoted}) AS VARCHAR) AS {quoted}")
        else:
            columns.append(f"CAST({quoted} AS VARCHAR) AS {quoted}")
    rows = f"SELECT {', '.join(columns)} FROM read_parquet({literal(file.path)}, hive_partitioning = false)"
    return f"SELECT CAST(to_json(each) AS VARCHAR) AS line, CAST(NULL AS VARCHAR) AS reject, CAST(NULL AS VARCHAR) AS raw FROM ({rows}) AS each"


def _by_hand(con: "duckdb.DuckDBPyConnection", file: LandedFile, number: int) -> str:
    import pyarrow as pa

    rows = list(split_csv(file) if file.format == "csv" else split_lines(opened(file.path)))
    text = pa.string()
    table = pa.table({name: pa.array([row[at] for row in rows], text) for at, name in enumerate(("line", "reject", "raw"))})
    name = f"by_hand_{number}"
    con.register(name, table)
    return f"SELECT line, reject, raw FROM {name}"


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
    """Rows of a CSV file by Python's own reader; a row of another width than the header is a reject."""
    text = (
        content.removesuffix(b"\r").replace(b"\0", b"\\x00").decode("utf-8", "backslashreplace") + "\n"
        for content, _ in lines(opened(file.path))
    )
    reader = csv.reader(text)
    header = [name.removeprefix("\ufeff") for name in next(reader, [])]
    csv.field_size_limit(MOST_LINE)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield None, "line:too_long" if "limit" in str(error) else "csv:unreadable", str(error)
            continue
        if not record:
            continue
        if len(record) != len(header):
            sample = io.StringIO()
            csv.writer(sample).writerow(record)
            yield None, "csv:columns", sample.getvalue().strip()[:RAW_CHARACTERS]
        elif any("\\x" in value for value in record):
            yield None, "line:not_utf8", ",".join(record)[:RAW_CHARACTERS]
        else:
            yield (
                json.dumps(dict(zip(header, (value if value != "" else None for value in record), strict=True)), ensure_ascii=False),
                None,
                None,
            )
