"""One way to write a value as bytes, so that equal values have equal digests; and the bounded, strict way to read them back.

Text forms and digests belong here; keys, signatures and files do not.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
# A string is skipped whole, so brackets inside it do not count as depth. One pattern, no backtracking.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[{]|[\]}]', re.DOTALL)


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with exactly six decimals and Z. A naive value is taken as UTC, an aware one is converted."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


def parse_instant(text: str) -> datetime:
    """The inverse of `instant`, aware. Raises ValueError for any other spelling of the same moment."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not an instant of the form 2026-04-30T23:59:59.000000Z")
    return datetime.fromisoformat(text)


def decimal_text(number: Decimal) -> str:
    """Plain digits at the scale the value carries: 1.500 stays so, 1E+3 is 1000, no minus zero. ValueError for NaN and infinities."""
    if not number.is_finite():
        raise ValueError(f"{number} has no canonical text; only finite decimals have")
    return format(number.copy_abs() if number.is_zero() else number, "f")


def _plain(value: Any) -> Any:
    """The value in JSON's own types. Subclasses of datetime (pandas.Timestamp, NaT) are refused: they hold more than is written."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    if type(value) is datetime:
        return instant(value)
    if type(value) is date:
        return value.isoformat()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is {type(key).__name__}; keys of canonical JSON are text")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise TypeError(f"{value!r} is {type(value).__name__}, which has no canonical form; give text, int, Decimal, datetime or date")


def canonical(value: Any) -> bytes:
    """Canonical JSON: keys sorted by code point, UTF-8, no blanks, no line end.

    None, bool, int, str, lists, tuples and mappings are JSON's own; Decimal, datetime and date become text (`decimal_text`, `instant`,
    ISO date). TypeError for floats and everything else, ValueError for NaN decimals and lone surrogates.
    """
    return canonical_of_plain(_plain(value))


def canonical_of_plain(value: Any) -> bytes:
    """As `canonical`, in half the time, for a value that is made of JSON's own types alone and has no floats: nothing is checked."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def sha256(data: bytes) -> str:
    """Lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def rows_bytes(columns: Sequence[str], rows: Iterable[Sequence[Any]], grain: Sequence[str]) -> bytes:
    """A table in canonical form: one canonical JSON array a row in column order, each ended by a newline, rows in the order of their grain.

    That order is the byte order of the grain columns' own canonical JSON array, so it depends on no engine's collation.
    ValueError where a row's length is wrong, two rows share a grain, or a column mixes decimal scales (then it has no fixed scale).
    """
    at = [columns.index(name) for name in grain]
    scales: dict[int, int] = {}
    lines: dict[bytes, bytes] = {}
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"row {row!r} has {len(row)} values for {len(columns)} columns")
        for position, value in enumerate(row):
            if isinstance(value, Decimal) and value.is_finite():
                scale = max(0, -int(value.as_tuple().exponent))
                if scales.setdefault(position, scale) != scale:
                    raise ValueError(
                        f"column {columns[position]!r} mixes decimals of scale {scales[position]} and {scale}; cast it to one type"
                    )
        key = canonical([row[position] for position in at])
        if key in lines:
            raise ValueError(f"two rows share the grain ({', '.join(grain)}) = {key.decode()}")
        lines[key] = canonical(list(row)) + b"\n"
    return b"".join(lines[key] for key in sorted(lines))


def rows_digest(columns: Sequence[str], rows: Iterable[Sequence[Any]], grain: Sequence[str]) -> str:
    """sha256 (hex) of `rows_bytes`: the same for two lakes that hold the same rows."""
    return sha256(rows_bytes(columns, rows, grain))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def _refuse_number(text: str) -> Any:
    raise ValueError(f"number {text[:40]} is no integer; quantities are written as text")


def parse(data: bytes, *, limit: int = 16 << 20, depth: int = 32) -> Any:
    """Read JSON that somebody else may have written. `limit` in bytes, `depth` in nested brackets.

    ValueError (which UnicodeDecodeError and JSONDecodeError are) for anything larger, deeper, repeated, fractional or malformed.
    """
    if len(data) > limit:
        raise ValueError(f"JSON of {len(data)} bytes is larger than the {limit} allowed")
    level = 0
    for token in _TOKEN.finditer(data):
        first = token.group()[:1]
        level += (first in b"[{") - (first in b"]}")
        if level > depth:
            raise ValueError(f"JSON is nested deeper than {depth} levels")
    return json.loads(data.decode(), object_pairs_hook=_once, parse_float=_refuse_number, parse_constant=_refuse_number)
