"""`reference/corrections.yaml`: for how long a locked month is corrected. Optional; 13 months where there is no file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from mc_pipelines.disk import there
from mc_pipelines.evidence.canonical import sha256
from mc_pipelines.home import Home
from mc_pipelines.reference import Declared, read_one
from mc_pipelines.reference_tables import relation_of

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.runner import Work, Workshop


class Settings(Declared):
    """Months back from the month whose invoice takes a correction; 0 bills no correction at all."""

    max_lookback_months: int = Field(default=13, ge=0, le=120)


def _file(home: Home) -> Path:
    return home.reference / "corrections.yaml"


def read_settings(home: Home) -> Settings:
    """What the home declares. MissionError names file, line, value and remedy."""
    return read_one(_file(home), Settings) if there(_file(home)) else Settings()


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of what is declared."""
    return sha256(read_settings(shop.home).model_dump_json().encode())


def settings(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows: Iterator[tuple[int]] = iter([(read_settings(work.shop.home).max_lookback_months,)])
    return relation_of(work, {"max_lookback_months": "BIGINT"}, rows)
