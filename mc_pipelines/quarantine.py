"""Refused rows as a person gets them back: listed with their reasons, and written out to be mended and landed again.

Rows are refused in `staging.py`; here they are only read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mc_pipelines.durable import write
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home
from mc_pipelines.lake import Lake
from mc_pipelines.personal import WITHHELD
from mc_pipelines.rawlines import RAW_CHARACTERS


@dataclass(frozen=True)
class Refused:
    """One refused row: where it landed (`offset` from 1), why it was refused, and its text, cut after 2000 characters, personal fields withheld."""

    landing_day: str
    file: str
    offset: int
    reasons: str
    raw: str

    @property
    def whole(self) -> bool:
        return len(self.raw) < RAW_CHARACTERS and not self.personal

    @property
    def personal(self) -> bool:
        return WITHHELD in self.raw


def refused(home: Home, source: str, days: Sequence[str], reason: str | None) -> list[Refused]:
    """Rows refused on the landing days, in the order in which they landed. MissionError where nothing of the source was ever staged."""
    con = connect()
    if Lake(str(home.lake)).view(con, f"quarantine.{source}") is None:
        raise MissionError(f"quarantine.{source} does not exist yet. Run a day first: mission run DAY.")
    rows = con.sql(
        f"""SELECT CAST(landing_day AS VARCHAR), file, "offset", reasons, raw FROM quarantine.{source}
            WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
              AND ($reason = '' OR list_contains(string_split(reasons, ','), $reason)) ORDER BY landing_day, file, "offset" """,
        params={"first": days[0], "last": days[-1], "reason": reason or ""},
    ).fetchall()
    return [Refused(*row) for row in rows]


def write_replays(rows: Sequence[Refused], folder: Path) -> list[Path]:
    """One `replay-of-<day>.ndjson` per landing day with the rows as they stood, to be mended and landed in a later day's folder.

    A row whose text was cut, or has personal fields, is left out: it is named by file and offset, and is taken from the landed file.
    """
    by_day: dict[str, list[str]] = {}
    for row in rows:
        if row.whole:
            by_day.setdefault(row.landing_day, []).append(row.raw + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for day, lines in sorted(by_day.items()):
        paths.append(folder / f"replay-of-{day}.ndjson")
        write(paths[-1], "".join(lines).encode("utf-8"))
    return paths
