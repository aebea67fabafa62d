"""How long things are kept, as `reference/retention.yaml` declares it. Nothing is deleted here; every bundle says until when it is kept."""

from datetime import date

from pydantic import Field

from mc_pipelines.disk import there
from mc_pipelines.home import Home
from mc_pipelines.reference import Declared, read_one


class Retention(Declared):
    """`evidence_years`: how many years after the instant that a close speaks for its bundle has to be kept.

    `landing_days`, `quarantine_days`: how many days after its landing day a file, or a refused row, is kept; for ever where they are absent.
    """

    evidence_years: int = Field(default=7, ge=1, le=100, strict=True)
    landing_days: int | None = Field(default=None, ge=1, le=36_500, strict=True)
    quarantine_days: int | None = Field(default=None, ge=1, le=36_500, strict=True)

    def until(self, as_of: str) -> str:
        """The first day (ISO) on which a bundle of that instant may go. 29 February becomes 1 March."""
        day = date.fromisoformat(as_of[:10])
        year = day.year + self.evidence_years
        try:
            return day.replace(year=year).isoformat()
        except ValueError:
            return date(year, 3, 1).isoformat()


def read_retention(home: Home) -> Retention:
    """The home's declaration, 7 years where it has none. MissionError names file, line, value and remedy."""
    path = home.declared("reference/retention.yaml")
    return read_one(path, Retention) if there(path) else Retention()
