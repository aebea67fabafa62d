"""How long evidence is kept, as `reference/retention.yaml` declares it. Nothing is deleted here; every bundle says until when it is kept."""

from datetime import date
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mc_pipelines.errors import MissionError
from mc_pipelines.home import Home


class Retention(BaseModel):
    """`evidence_years`: how many years after the instant that a close speaks for its bundle has to be kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evidence_years: int = Field(default=7, ge=1, le=100, strict=True)

    def until(self, as_of: str) -> str:
        """The first day (ISO) on which a bundle of that instant may go. 29 February becomes 1 March."""
        day = date.fromisoformat(as_of[:10])
        year = day.year + self.evidence_years
        try:
            return day.replace(year=year).isoformat()
        except ValueError:
            return date(year, 3, 1).isoformat()


def read_retention(home: Home) -> Retention:
    """The home's declaration, 7 years where it has none. MissionError names the file and the value."""
    path = home.declared("reference/retention.yaml")
    if not path.exists():
        return Retention()
    try:
        loaded: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Retention.model_validate(loaded)
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise MissionError(f"{path}:1: {error}\nWrite one line, for example `evidence_years: 7`.") from error
