"""Compute an attempt again from what its bundle pins, and compare byte by byte.

The tables of days and the reference data are read at their pinned versions; the tables of the window are computed again from them, with
the SQL, the gates and the declarations that the bundle recorded. Only what Python computes is this checkout's; the code's digest tells.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mc_pipelines import attempts, close
from mc_pipelines.catalog import Catalog, read_catalog
from mc_pipelines.code import code_digest
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.record import Recorded
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import PREVIOUS
from mc_pipelines.lake import Lake
from mc_pipelines.runner import Workshop
from mc_pipelines.window_again import window_again


@dataclass(frozen=True)
class Reproduction:
    """`differing` names payload files (under data/) that came out otherwise, `changed` pinned tables whose files are not those signed."""

    compared: int
    differing: list[str]
    changed: list[str]
    same_code: bool

    @property
    def ok(self) -> bool:
        return not self.differing and not self.changed


def reproduce(home: Home, bundle: Path, recorded: Recorded) -> Reproduction:
    """Compare a verified bundle's payload with what its pins give now.

    MissionError where a pinned version or file is gone, or where the bundle is of other code and this code cannot read its tables.
    """
    lake = Lake(str(home.lake))
    digests = {name: lake.files_digest(name, version) for name, version in recorded.pins.items()}
    shop = Workshop(home, Catalog(recorded.catalog.models, read_catalog(home).deliverables), lake)
    same_code = recorded.code == code_digest(home)
    try:
        again = _again(shop, bundle, recorded)
    except MissionError as error:
        if same_code:
            raise
        raise MissionError(
            f"{bundle}: made by code {recorded.code[:12]}, and this checkout cannot compute it again from those tables. "
            f"Reproduce it with the checkout that made it. ({error})"
        ) from error
    payload = bundle / "data"
    names = sorted({path.relative_to(payload).as_posix() for path in payload.rglob("*") if path.is_file()} | set(again))
    return Reproduction(
        compared=len(names),
        differing=[name for name in names if not (payload / name).is_file() or again.get(name) != (payload / name).read_bytes()],
        changed=[f"{name} version {recorded.pins[name]}" for name, digest in sorted(digests.items()) if digest != recorded.digests[name]],
        same_code=same_code,
    )


def _again(shop: Workshop, bundle: Path, recorded: Recorded) -> Mapping[str, bytes]:
    bind = partial(window_again, recorded.deliverable)
    if recorded.deliverable != close.DELIVERABLE:
        return attempts.compute(shop, recorded.deliverable, recorded.window, recorded.pins, recorded.gates, bind).files
    compared_with = bundle / "data" / PREVIOUS
    previous = json.loads(compared_with.read_bytes()) if compared_with.is_file() else None
    return close.compute(shop, recorded.window.key, recorded.pins, recorded.gates, lambda _: previous, bind).files
