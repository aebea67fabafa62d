"""Landed files into the lake: a landing day's files are staged by their contract, refused rows and file facts are written beside.

Order of commits: quarantine, file facts, staged rows. The staged table's window is the commit point; a killed run does all three again.
How a row is judged stands in `staging.py`, what a file is in `landing.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines.faults import reach

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    raise NotImplementedError


def staged(work: "Work") -> "duckdb.DuckDBPyRelation":
    raise NotImplementedError
