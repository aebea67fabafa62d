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
from mc_pipelines.reference import read_sources

REFUSED = """
    SELECT '{0}' AS source, CAST(landing_day AS VARCHAR) AS landing_day, file, "offset", reasons, raw
    FROM quarantine.{0}
    WHERE landing_day BETWEEN CAST($first AS DATE) AND CAST($last AS DATE)
      AND ($reason = '' OR list_contains(string_split(reasons, ','), $reason))
"""


@dataclass(frozen=True)
class Refused:
    """One refused row: where it landed (`offset` from 1), why it was refused, and its text, cut after 2000 characters, personal fields withheld."""

    source: str
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


def refused(home: Home, source: str | None, days: Sequence[str], reason: str | None) -> list[Refused]:
    """Rows of a source, or of all that are declared, refused on the landing days: by source, in the order in which they landed.

    MissionError for a source that is not declared, and where nothing of what was asked for was ever staged.
    """
    declared = sorted(read_sources(home))
    if source is not None and source not in declared:
        raise MissionError(f"{source}: no such source is declared in {home.reference / 'sources.yaml'}. There are: {', '.join(declared)}.")
    con, lake = connect(), Lake(str(home.lake))
    asked = [name for name in declared if source in (None, name)]
    staged = [name for name in asked if lake.view(con, f"quarantine.{name}") is not None]
    if not staged:
        raise MissionError(f"quarantine.{asked[0]} does not exist yet. Run a day first: mission run DAY.")
    rows = con.sql(
        " UNION ALL ".join(map(REFUSED.format, staged)) + " ORDER BY ALL",
        params={"first": days[0], "last": days[-1], "reason": reason or ""},
    ).fetchall()
    return [Refused(*row) for row in rows]


def write_replays(rows: Sequence[Refused], folder: Path) -> list[Path]:
    """One `<source>/replay-of-<day>.ndjson` per source and landing day with the rows as they stood, to be mended and landed in a later day's folder.

    A row whose text was cut, or has personal fields, is left out: it is named by file and offset, and is taken from the landed file.
    """
    by_day: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.whole:
            by_day.setdefault((row.source, row.landing_day), []).append(row.raw + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for (source, day), lines in sorted(by_day.items()):
        paths.append(folder / source / f"replay-of-{day}.ndjson")
        paths[-1].parent.mkdir(exist_ok=True)
        write(paths[-1], "".join(lines).encode("utf-8"))
    return paths
