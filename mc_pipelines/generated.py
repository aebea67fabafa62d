"""What generators of landed files have in common: chance that follows from a seed, rows as bytes, and rows spoilt on purpose.

What a generated row means belongs to its generator.
"""

import gzip
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from mc_pipelines.durable import write
from mc_pipelines.errors import MissionError

Row = Mapping[str, Any]
Place = Callable[[Path, bytes], None]
"""Lands a file whole."""
AGAIN = "json:duplicate_key"
Spoil = tuple[str, Mapping[str, Any]]
"""(reason that the contract must give, fields that make it hold: None takes a field away; `AGAIN` says the first field twice)."""


def text_of(seed: int, kind: str, number: int | str) -> str:
    """64 hex digits that follow from seed, kind and number."""
    return hashlib.sha256(f"{seed}/{kind}/{number}".encode()).hexdigest()


class Chance:
    """Independent numbers drawn one after the other, up to eight, from (seed, kind, number)."""

    def __init__(self, seed: int, kind: str, number: int | str) -> None:
        self._left = int(text_of(seed, kind, number), 16)

    def below(self, bound: int) -> int:
        """A whole number from 0 to bound - 1."""
        drawn, self._left = self._left & 0xFFFFFFFF, self._left >> 32
        return drawn * bound >> 32

    def between(self, low: int, high: int) -> int:
        """A whole number from low to high, both inclusive."""
        return low + self.below(high - low + 1)

    def one_of(self, values: Sequence[Any]) -> Any:
        return values[self.below(len(values))]


def shuffled(seed: int, kind: str, names: Iterable[str]) -> list[str]:
    """The names in an order that follows from the seed."""
    return sorted(names, key=lambda name: text_of(seed, kind, name))


def instant(at: datetime) -> str:
    """An aware instant as the contracts take it: UTC, microseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def day_of(row: Row, field: str) -> date:
    """The UTC day of an instant that `instant` wrote."""
    return date.fromisoformat(row[field][:10])


def by_day(rows: Iterable[Row], field: str) -> dict[date, list[Row]]:
    """Rows by the UTC day of an instant, in their order."""
    days: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        days[day_of(row, field)].append(row)
    return dict(sorted(days.items()))


def line(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def packed(lines: Iterable[bytes]) -> bytes:
    """Lines as a gzip file, the same bytes each time."""
    return gzip.compress(b"".join(lines), compresslevel=6, mtime=0)


def spoilt(row: Row, spoil: Spoil) -> bytes:
    """A good row's line, changed so that exactly the reason holds."""
    reason, changes = spoil
    if reason == AGAIN:
        first = json.dumps(next(iter(row)))
        return line(row)[:-2] + f',{first}:"again"}}\n'.encode()
    return line({name: value for name, value in {**row, **changes}.items() if value is not None})


def land(landing: Path, source: str, name: str, days: Mapping[date, Sequence[Row]], place: Place) -> int:
    """Land rows by day as landing/<source>/<day>/<name>.ndjson.gz; returns how many."""
    for day, rows in days.items():
        place(landing / source / day.isoformat() / f"{name}.ndjson.gz", packed(map(line, rows)))
    return sum(map(len, days.values()))


def land_spoilt(landing: Path, source: str, day: date, rows: Sequence[Row], spoils: Sequence[Spoil], place: Place) -> dict[str, int]:
    """Land one bad row per kind of spoiling, made of good ones in turn; returns rows by reason."""
    if not rows:
        return {}
    reasons: dict[str, int] = {}
    lines = []
    for number, spoil in enumerate(spoils):
        lines.append(spoilt(rows[number % len(rows)], spoil))
        reasons[spoil[0]] = reasons.get(spoil[0], 0) + 1
    place(landing / source / day.isoformat() / "malformed.ndjson.gz", packed(lines))
    return reasons


def new_file(path: Path, content: bytes) -> None:
    """Land a file; MissionError where there is one already, for landed files never change."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise MissionError(f"{path}: has landed already; landed files never change. Name another folder.")
    write(path, content)
